"""Implementations of the commands; ``python -m experiments.train`` and the like only call them."""
