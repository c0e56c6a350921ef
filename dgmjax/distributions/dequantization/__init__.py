"""Noise that makes densities of integers out of densities of real numbers."""
