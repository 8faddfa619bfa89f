"""Measurements against peers in one run; a ratio below 1 means that we are quicker."""
