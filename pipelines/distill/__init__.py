"""`assay distill`: train students on a teacher's answers, beside controls on the same images."""
