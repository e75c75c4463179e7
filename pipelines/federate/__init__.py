"""Federated distillation: clients that keep their images to themselves."""
