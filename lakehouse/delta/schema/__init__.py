"""Columns and their types, and how they change: pure, below the log that keeps them."""
