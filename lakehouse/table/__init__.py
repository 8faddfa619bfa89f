"""A table of the lake: the user's handle, and what its verbs do."""
