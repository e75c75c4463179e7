"""A data audit: what is wrong with images, labels and splits, before any number is believed."""
