"""`assay gate`: whether a run keeps to a policy, for a build server and for the model registry."""
