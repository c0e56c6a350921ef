"""What the commands do; ``python -m experiments.train`` and the like only call them."""
