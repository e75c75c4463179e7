"""`assay assess`: all five questions about one model in one command."""
