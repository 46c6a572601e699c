"""How large the pieces of a trace may be before a reader refuses them."""

LONGEST_ITEM_BYTES = 64 << 20
"""One line, or one element of a JSON array."""

LARGEST_SESSION_BYTES = 512 << 20
"""One file that holds one session as a single JSON object."""
