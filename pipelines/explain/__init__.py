"""The stages of `assay explain`, its result, figures and page."""
