"""How far an explanation can be believed: one measure a file, named in `METRICS`."""
