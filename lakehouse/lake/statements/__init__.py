"""SQL statements that change the lake or describe it: from text to frozen values. Pure."""
