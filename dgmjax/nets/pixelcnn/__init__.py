"""The networks of PixelCNN, and their samplers."""
