"""What every page, figure and table shares, and `assay report`."""
