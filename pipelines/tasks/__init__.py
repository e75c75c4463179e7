"""A model with several heads: every task by itself, and all of them together."""
