"""Changing rows by predicate: which files are touched, and what is left of them."""
