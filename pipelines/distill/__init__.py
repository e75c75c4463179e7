"""Distillation: how a student is trained, what it is compared with, and its audit."""
