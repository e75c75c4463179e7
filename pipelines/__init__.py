"""Pipelines: what a user runs, each readable from top to bottom."""
