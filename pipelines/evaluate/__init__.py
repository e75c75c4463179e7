"""`assay evaluate`: one pass over the test data with any probes."""
