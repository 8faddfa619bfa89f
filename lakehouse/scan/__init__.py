"""Reading: which files a query needs, and the views that read them."""
