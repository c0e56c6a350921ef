"""Typed settings of runs and of the systems that they train."""
