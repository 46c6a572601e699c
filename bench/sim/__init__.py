"""A simulated inference server whose true times are known."""
