"""The commands that compaction adds to the program ``lakehouse``."""
