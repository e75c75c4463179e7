"""What layers and units see: feature maps, top images, maximised images."""
