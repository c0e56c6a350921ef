"""Flows on vectors: linear layers between their steps, settings of their splines, densities of one column."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.layers.autoregressive import MaskedAutoregressive
from dgmjax.testing import scramble

pytestmark = pytest.mark.usefixtures("x32")
SYSTEMS = {
    "RealNVP": dgm.RealNVP,
    "NeuralSplineFlow": dgm.NeuralSplineFlow,
    "MAF": functools.partial(dgm.MAF, transformer="spline"),
    "IAF": functools.partial(dgm.IAF, transformer="spline"),
}
SPLINES = {"num_bins": 5, "bound": 2.5, "min_bin": 0.01, "min_derivative": 0.02}


def make(system: str, size: int = 4, **options) -> dgm.Flow:
    return SYSTEMS[system]((size,), width=8, rngs=nnx.Rngs(0), **options)


def parts(model, kind):
    return [module for _, module in nnx.iter_modules(model) if isinstance(module, kind)]


def total(model, kind, name) -> int:
    """The number of layers of a kind, those of a stack too, by the elements of their parameter ``name``."""
    return sum(getattr(part, name)[...].size for part in parts(model, kind))


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("depth", [2, 3])
def test_linear_layers_stand_before_between_and_after_the_steps(system, depth):
    affine = make(system, depth=depth, linear="affine")
    assert total(affine, dgm.Elementwise, "params") == (depth + 1) * 4 * 2
    unbounded = {dgm.AffineTransformer("exp")}
    assert {part.transformer for part in parts(affine, dgm.Elementwise)} == unbounded
    lu = make(system, depth=depth, linear="lu")
    assert total(lu, dgm.PLULinear, "bias") == (depth + 1) * 4
    plain = make(system, depth=depth, linear="none")
    assert not parts(plain, (dgm.Elementwise, dgm.PLULinear))


@pytest.mark.parametrize("system", SYSTEMS)
def test_affine_layers_start_as_the_identity(system):
    x = jax.random.normal(jax.random.key(0), (5, 4))
    plain, affine = (make(system, depth=2, linear=linear) for linear in ("none", "affine"))
    np.testing.assert_allclose(plain.log_prob(x), affine.log_prob(x), rtol=1e-6)


@pytest.mark.parametrize(
    ("system", "kind"),
    [("NeuralSplineFlow", dgm.Coupling), ("MAF", MaskedAutoregressive), ("IAF", MaskedAutoregressive)],
)  # fmt: skip
def test_settings_of_the_splines_arrive(system, kind):
    flow = make(system, depth=3, **SPLINES)
    assert {part.transformer for part in parts(flow, kind)} == {dgm.SplineTransformer(**SPLINES)}


def test_an_iaf_samples_as_a_maf_of_its_weights_evaluates():
    maf, iaf = (scramble(make(system, depth=1), jax.random.key(0)) for system in ("MAF", "IAF"))
    z = jax.random.normal(jax.random.key(1), (5, 4))
    np.testing.assert_allclose(iaf.bijector.forward(z), maf.bijector.inverse(z), rtol=1e-5)
    assert np.abs(iaf.bijector.inverse(z) - maf.bijector.inverse(z)).max() > 0.1


def test_settings_of_splines_without_splines_are_refused():
    for cls in (dgm.MAF, dgm.IAF):
        with pytest.raises(
            ValueError, match=r"are those of transformer='spline', got transformer='affine'"
        ):
            cls((3,), num_bins=16, rngs=nnx.Rngs(0))
        with pytest.raises(
            ValueError, match="linear: expected 'none', 'affine' or 'lu', got 'svd'"
        ):
            cls((3,), linear="svd", rngs=nnx.Rngs(0))


@pytest.mark.parametrize("system", [*SYSTEMS, "MAF, affine", "IAF, gated"])
@pytest.mark.parametrize("context_shape", [None, (2,)])
def test_one_column_is_mapped_by_splines(system, context_shape):
    """Affine maps of a single element would leave the shape of the base."""
    name, _, transformer = system.partition(", ")
    options = {"transformer": transformer} if transformer else {}
    flow = make(name, size=1, depth=2, context_shape=context_shape, **options)
    kinds = (dgm.Elementwise, MaskedAutoregressive)
    assert {part.transformer for part in parts(flow, kinds)} == {dgm.SplineTransformer(8, 4.0)}
    x = jnp.linspace(-1.0, 1.0, 5)[:, None]
    context = None if context_shape is None else jnp.ones((5, 2))
    assert flow.log_prob(x, context).shape == (5,)


def test_a_table_of_one_column_is_a_density_of_any_shape():
    """Beta(2, 5), whose expected log-density is 0.4845."""
    rng = np.random.default_rng(0)
    density = dgm.interop.fit_table(rng.beta(2, 5, (20_000, 1)), seed=jax.random.key(0))
    x = rng.beta(2, 5, (50_000, 1))
    exact = np.log(30.0) + np.log(x) + 4.0 * np.log1p(-x)
    assert abs(float(density.log_prob(x).mean()) - exact.mean()) < 0.01
