"""What a request and its answer look like on the wire; pure functions over bytes."""
