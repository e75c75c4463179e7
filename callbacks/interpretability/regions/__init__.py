"""Which pixels belong together, and what takes their place when they are removed."""
