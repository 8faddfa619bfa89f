"""Say whether a transaction log keeps the promises of the Delta protocol, and our own."""
