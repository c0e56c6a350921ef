"""RealNVP on two_moons: two interleaved half circles, density known.

Reproduces: the usual 2-D suite of flow papers, with the true density beside the learned one.
Command: python -m experiments.train realnvp_two_moons
Expected: test @NATS@ nats, exact; the true density has @TRUE@ on the same points.
Cost: @COST@ on 2 CPU cores.
"""

from experiments.configs._plane import plane_config

CONFIG = plane_config("two_moons")
