"""The lake: connect, its tables, and SQL over them."""
