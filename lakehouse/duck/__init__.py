"""The embedded DuckDB: the only room that imports it."""
