"""`assay compare`: which of several models is better, at what, and how far that can be believed."""
