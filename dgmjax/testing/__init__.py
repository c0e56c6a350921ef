"""The laws of the library as functions: check a layer or a density of your own.

``check_bijector`` holds a bijector to its contract (round trip, log-det against autodiff, jit,
vmap, dtype, gradients), ``check_density`` a distribution to its own (shapes, seeds, normalization,
samples that follow the density). Both return nothing, or raise ``LawViolation``, which says which
law broke, where, by how much against which tolerance, and what the likely cause is. ``scramble`` moves
parameters away from where they start, ``cast`` changes the precision of a module:

    from dgmjax.testing import check_bijector, scramble
    check_bijector(scramble(my_layer, key), x)
"""

from dgmjax.testing._bijector import check_bijector
from dgmjax.testing._density import check_density
from dgmjax.testing._modules import cast, scramble
from dgmjax.testing._report import LawViolation
from dgmjax.testing._tolerance import Tolerance

__all__ = ["LawViolation", "Tolerance", "cast", "check_bijector", "check_density", "scramble"]
