"""Writing: the gate that rows pass, the data files and their statistics."""
