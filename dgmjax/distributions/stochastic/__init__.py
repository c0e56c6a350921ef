"""Maps between data and latents that draw: surjections, encoders with decoders, and their chains."""
