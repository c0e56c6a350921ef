"""Every experiment, figure and table of the lectures by one command, ``python -m experiments.reproduce``."""
