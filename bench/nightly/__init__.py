"""Nights: rounds of one workload, held against earlier nights, kept as small JSON files."""
