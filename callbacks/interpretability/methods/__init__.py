"""Methods of explanation: one file each, named in `EXPLAINERS`."""
