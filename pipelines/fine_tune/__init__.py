"""`assay fine-tune`: training on your images, then an evaluation."""
