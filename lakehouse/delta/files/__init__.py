"""A snapshot's live files as a relation: in memory, or where a large checkpoint holds them."""
