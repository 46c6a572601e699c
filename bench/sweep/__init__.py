"""Runs of one recipe at rising load: lists of rates or slots, and searches for the highest one."""
