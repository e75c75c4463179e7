"""Distillation of a teacher with several heads: what every task of it keeps."""
