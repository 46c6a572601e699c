"""One run, from a recipe and a target to a run folder: the only room that wires the others."""
