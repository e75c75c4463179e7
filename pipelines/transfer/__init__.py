"""`assay transfer`: models moved to other data sets, predicted and measured."""
