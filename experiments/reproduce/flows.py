"""Flows on vectors: formulas of the lectures, and what they look like."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import dgmjax as dgm
from experiments.reproduce.entry import Check, Context, at_least, at_most, close, entry

_KEY = jax.random.key(0)


def _scrambled(module: Any, scale: float = 0.3) -> Any:
    """Parameters away from where training starts, so that nothing is the identity."""
    params, fixed, merge = dgm.training.partition(module)
    keys = jax.random.split(jax.random.key(1), len(params))
    noise = (
        scale * jax.random.normal(k, a.shape, a.dtype)
        for k, a in zip(keys, params.values(), strict=True)
    )
    return merge({name: a + n for (name, a), n in zip(params.items(), noise, strict=True)}, fixed)


def _error(a: jax.Array, b: jax.Array) -> float:
    return float(jnp.abs(a - b).max())


def _dense_log_det(function: object, x: jax.Array) -> jax.Array:
    jacobian = jax.vmap(jax.jacfwd(function))(x)  # type: ignore[arg-type]
    return jnp.linalg.slogdet(jacobian.reshape(len(x), x[0].size, -1))[1]


def _round_trip(layer: dgm.Bijector, x: jax.Array, tolerance: float = 1e-4) -> list[Check]:
    """The inverse, and the log-determinant against that of the dense Jacobian, in float32."""
    z, log_det = layer.inverse_and_log_det(x)
    back = layer.forward(z)
    dense = _dense_log_det(lambda one: layer.inverse(one).ravel(), x)
    return [
        at_most("largest error of the round trip", _error(back, x), tolerance),
        at_most("largest error of the log-determinant", _error(log_det, dense), tolerance),
    ]


@entry("L7-01", "L5-32", title="Gaussian autoregressive flow: triangular Jacobian, both directions")
def autoregressive(context: Context) -> list[Check]:
    """MAF: what an element depends on, and that the directions are inverses."""
    del context
    flow = _scrambled(dgm.MAF((6,), depth=1, width=32, rngs=nnx.Rngs(0)))
    layer = flow.bijector
    x = jax.random.normal(_KEY, (16, 6))
    jacobian = jax.vmap(jax.jacfwd(layer.inverse))(x)
    order = np.argsort(np.abs(np.asarray(jacobian[0]) > 0).sum(1))
    upper = np.triu(np.asarray(jacobian)[:, order][:, :, order], 1)
    return [
        *_round_trip(layer, x),
        close("largest derivative by later elements", float(np.abs(upper).max()), 0.0, 0.0),
    ]


@entry("L7-03", title="IAF is MAF the other way round")
def inverse_autoregressive(context: Context) -> list[Check]:
    """With the same weights one direction of either is the other direction of the other."""
    del context
    maf = _scrambled(dgm.MAF((6,), depth=1, width=32, rngs=nnx.Rngs(0))).bijector
    iaf = dgm.Inverse(maf)
    z = jax.random.normal(_KEY, (16, 6))
    return [at_most("largest difference", _error(iaf.forward(z), maf.inverse(z)), 1e-6)]


def _banana(x: jax.Array) -> jax.Array:
    """``N(x_0 | 0, 1) N(x_1 | x_0^2 / 2, 1/4)`` times ``e^3``."""
    residual = (x[1] - 0.5 * x[0] ** 2) / 0.5
    return -0.5 * x[0] ** 2 - 0.5 * residual**2 - math.log(2 * math.pi) - math.log(0.5) + 3.0


@entry(
    "L7-04", "L5-35", title="Reverse KL: an inverse autoregressive flow finds a known normaliser"
)
def reverse_kl(context: Context) -> list[Check]:
    """The bound on ``log Z = 3`` of a banana."""
    flow = dgm.IAF((2,), depth=4, width=32, activation="tanh", rngs=nnx.Rngs(context.seed))
    steps = context.size(800, 2_000)
    fitted = dgm.fit_density(flow, _banana, seed=_KEY, steps=steps, learning_rate=1e-2).model
    x, log_q = fitted.sample_and_log_prob(seed=jax.random.key(1), sample_shape=(20_000,))
    weights = jax.vmap(_banana)(x) - log_q
    error = float(weights.std()) / math.sqrt(weights.size)
    mean = float(weights.mean())
    return [
        at_least("bound on log Z", mean, 3.0 - 0.03),
        at_most("bound on log Z, less 3 standard errors", mean - 3 * error, 3.0),
    ]


@entry(
    "L7-05",
    "L7-06",
    "L7-07",
    "D3-13",
    "D3-14",
    title="Affine coupling: one evaluation each way, det = prod of scales",
)
def coupling(context: Context) -> list[Check]:
    """The blocks of the Jacobian: identity, zero, and a diagonal of scales."""
    del context
    one = _scrambled(
        dgm.Coupling(
            (6,),
            mask="half",
            make_conditioner=functools.partial(dgm.nets.MLP, width=32, rngs=nnx.Rngs(0)),
            transformer=dgm.bijectors.AffineTransformer(),
        )
    )
    x = jax.random.normal(_KEY, (16, 6))
    jacobian = np.asarray(jax.vmap(jax.jacfwd(one.inverse))(x))
    kept = np.flatnonzero(np.all(np.abs(jacobian - np.eye(6)).max(0) == 0, axis=1))
    moved = np.setdiff1d(np.arange(6), kept)
    block = jacobian[:, moved][:, :, moved]
    off = np.abs(block * (1 - np.eye(len(moved)))).max()
    diagonal = np.log(np.abs(np.diagonal(block, axis1=1, axis2=2))).sum(1)
    return [
        *_round_trip(one, x),
        close("elements that stay", len(kept), 3, 0),
        close("largest derivative beside the diagonal of the moved block", float(off), 0.0, 0.0),
        at_most(
            "log-determinant less sum of log-scales",
            _error(one.inverse_log_det(x), jnp.asarray(diagonal)),
            1e-5,
        ),
    ]


@entry("D3-03", "D3-04", "D3-05", title="Change of variables: x = 2u + 1 of a standard normal")
def change_of_variables(context: Context) -> list[Check]:
    """``p(3) = N(3 | 1, 4) = 0.1209853623``."""
    del context
    params = (jnp.asarray(1.0), jnp.log(2.0))
    u, log_det = dgm.bijectors.affine_inverse(jnp.asarray(3.0), *params)
    density = float(jnp.exp(jax.scipy.stats.norm.logpdf(u) + log_det))
    _, forward = dgm.bijectors.affine_forward(u, *params)
    return [
        close("p(3)", density, 0.1209853623, 1e-7),
        close("log-determinants of both directions together", float(log_det + forward), 0.0, 1e-7),
    ]


@entry("D3-06", "D3-15", title="Volume: permutations and additive couplings keep it")
def volume(context: Context) -> list[Check]:
    """Log-determinants that are exactly 0; a swap of two elements has the sign -1."""
    del context
    x = jax.random.normal(_KEY, (8, 6))
    swap = dgm.Permute((6,), [1, 0, 2, 3, 4, 5])
    nice: Any = dgm.NICE((6,), depth=4, width=16, rngs=nnx.Rngs(0)).bijector
    additive = _scrambled(nice.layers[0])
    sign, _ = jnp.linalg.slogdet(jax.jacfwd(swap.inverse)(x[0]))
    return [
        close(
            "log-determinant of a permutation", float(jnp.abs(swap.inverse_log_det(x)).max()), 0, 0
        ),
        close(
            "log-determinant of additive couplings",
            float(jnp.abs(additive.inverse_log_det(x)).max()),
            0,
            0,
        ),
        close("sign of a swap", float(sign), -1, 0),
    ]


def _kolmogorov_smirnov(u: np.ndarray) -> float:
    """``sqrt(n)`` times the largest distance from the uniform distribution; above 1.95 in 1 of 1000."""
    ordered = np.sort(u)
    steps = np.arange(1, len(u) + 1) / len(u)
    distance = max((steps - ordered).max(), (ordered - steps + 1 / len(u)).max())
    return float(math.sqrt(len(u)) * distance)


@entry("D3-07", "D3-08", title="Inverse transform sampling is a flow; Rosenblatt in two dimensions")
def rosenblatt(context: Context) -> list[Check]:
    """A mixture of two Gaussians to independent uniforms, both coordinates tested."""
    del context
    layer = dgm.GaussianMixtureRosenblatt(
        jnp.array([0.4, 0.6]),
        jnp.array([[-1.0, 0.5], [1.5, -0.5]]),
        jnp.array([[[1.0, 0.6], [0.6, 1.0]], [[0.5, -0.2], [-0.2, 0.3]]]),
    )
    u = jax.random.uniform(_KEY, (4_000, 2), minval=1e-6, maxval=1 - 1e-6)
    x = layer.forward(u)
    back = np.asarray(layer.inverse(x))
    rng = np.random.RandomState(0)
    component = rng.rand(4_000) < 0.4
    means = np.where(component[:, None], [-1.0, 0.5], [1.5, -0.5])
    first = np.linalg.cholesky([[1.0, 0.6], [0.6, 1.0]])
    second = np.linalg.cholesky([[0.5, -0.2], [-0.2, 0.3]])
    noise = rng.normal(size=(4_000, 2))
    samples = means + np.where(component[:, None], noise @ first.T, noise @ second.T)
    v = np.asarray(layer.inverse(jnp.asarray(samples, jnp.float32)))
    return [
        at_most("largest error of the round trip", float(np.abs(back - np.asarray(u)).max()), 1e-4),
        at_most(
            "Kolmogorov-Smirnov statistic, first coordinate", _kolmogorov_smirnov(v[:, 0]), 1.95
        ),
        at_most(
            "Kolmogorov-Smirnov statistic, second coordinate", _kolmogorov_smirnov(v[:, 1]), 1.95
        ),
        at_most("correlation of the coordinates", abs(float(np.corrcoef(v.T)[0, 1])), 0.06),
    ]


@entry("D3-11", "A4-25", title="Composition: log-determinants add up at the intermediate points")
def composition(context: Context) -> list[Check]:
    """A chain of four layers against its dense Jacobian."""
    del context
    chain = _scrambled(dgm.RealNVP((4,), depth=4, width=16, rngs=nnx.Rngs(0)), 0.15).bijector
    return _round_trip(chain, jax.random.normal(_KEY, (16, 4)))


@entry(
    "D3-22",
    "L5-12",
    title="Linear flows: PLU keeps a rotation at the start, log-determinant in O(c)",
)
def linear(context: Context) -> list[Check]:
    """The factors of a random rotation, and a trained layer against its dense Jacobian."""
    del context
    rotation = jnp.linalg.qr(jax.random.normal(_KEY, (8, 8)))[0]
    factors = dgm.bijectors.plu_factors(rotation)
    layer = _scrambled(dgm.PLULinear((8,), rngs=nnx.Rngs(0)), scale=0.1)
    return [
        at_most(
            "P L (U + diag s) less the rotation",
            _error(dgm.bijectors.plu_matrix(factors), rotation),
            1e-5,
        ),
        *_round_trip(layer, jax.random.normal(_KEY, (8, 8))),
    ]


@entry(
    "D3-23", "L7-08", "L5-33", title="Transformers of autoregressive flows are strictly increasing"
)
def slopes_of_transformers(context: Context) -> list[Check]:
    """Affine, mixtures of logistics, splines: slopes above 0 for random parameters."""
    del context
    z = jnp.linspace(-6, 6, 400)
    checks = []
    transformers: dict[str, Any] = {
        "affine": dgm.bijectors.AffineTransformer(),
        "mixture of logistics": dgm.bijectors.MixtureCDFTransformer(4),
        "spline": dgm.bijectors.SplineTransformer(8),
    }
    for name, transformer in transformers.items():
        raw = jax.random.normal(_KEY, (400, transformer.num_params))
        slopes = jnp.exp(transformer.forward(z, raw)[1])
        checks.append(at_least(f"smallest slope, {name}", float(slopes.min()), 1e-6))
    return checks


@entry(
    "D3-24",
    title="Residual flows: Lipschitz bounds, series and unbiased log-determinants, fixed-point inverse",
)
def residual(context: Context) -> list[Check]:
    """Against the dense Jacobian; the roulette over many keys."""
    exact = _scrambled(dgm.ResidualFlow((4,), depth=2, width=32, log_det="exact", rngs=nnx.Rngs(0)))
    x = jax.random.normal(_KEY, (32, 4))
    checks = _round_trip(exact.bijector, x, tolerance=3e-4)
    unbiased = _scrambled(
        dgm.ResidualFlow((4,), depth=2, width=32, log_det="unbiased", rngs=nnx.Rngs(0))
    )
    keys = jax.random.split(jax.random.key(2), context.size(2_000, 10_000))
    value = jax.jit(lambda k: unbiased.bijector.inverse_and_log_det(x, key=k)[1].mean())
    draws = jax.lax.map(value, keys, batch_size=100)
    error = float(draws.std()) / math.sqrt(len(keys))
    gap = float(draws.mean() - exact.bijector.inverse_log_det(x).mean())
    return [*checks, at_most("bias of the roulette, in standard errors", abs(gap) / error, 3.0)]


@entry(
    "D3-28", title="Planar flows are invertible for all parameters under the corrected condition"
)
def planar(context: Context) -> list[Check]:
    """Random parameters after the constraint, and one point where the printed one fails."""
    del context
    keys = jax.random.split(_KEY, 4)
    u, w = (5 * jax.random.normal(k, (10_000, 3)) for k in keys[:2])
    b = jax.random.normal(keys[2], (10_000,))
    z = 3 * jax.random.normal(keys[3], (10_000, 3))
    _, log_det = dgm.bijectors.planar_forward(z, dgm.bijectors.planar_constrain(u, w), w, b)
    finite = float(jnp.isfinite(log_det).mean())

    def slope(u: float) -> float:
        """Of the map of one sigmoid unit at its steepest point."""

        def one(z: jax.Array) -> jax.Array:
            unit = jnp.ones(1)
            return dgm.bijectors.planar_forward(z[None], u * unit, unit, jnp.zeros(()), "sigmoid")[
                0
            ][0]

        return float(jax.grad(one)(jnp.zeros(())))

    # Printed: w.u >= -1 / sup h, for the sigmoid -1; it is the largest slope, 1 / 4, that counts: -4.
    printed, wrong = slope(-3.0), slope(-5.0)
    return [
        close("share of finite log-determinants", finite, 1.0, 0.0),
        at_least(
            "smallest determinant at w.u = -3, sigmoid (refused by the printed condition)",
            printed,
            1e-6,
        ),
        at_most("smallest determinant at w.u = -5, sigmoid", wrong, 0.0),
    ]


@entry("D3-12", "D3-40", title="The plane: densities of two dimensions, learned and true")
def plane(context: Context) -> list[Check]:
    """RealNVP on two moons: the KL from the known density, by held-out points."""
    model, result, config = context.trained("realnvp_two_moons", steps=600)
    test = result["test"]
    toy = dgm.data.TOYS[config.data]
    samples = model.sample(seed=_KEY, sample_shape=(5_000,))
    dgm.plots.density_2d(
        model.log_prob,
        context.picture("two_moons"),
        data=toy.sample(seed=_KEY, sample_shape=5_000),
        samples=samples,
        true_log_prob=toy.log_prob,
        title="two moons",
    )
    gap = test["nats"] - test["nats_of_the_true_density"]
    return [
        at_least("KL from the true density, nats", gap, -0.05),
        at_most("KL from the true density, nats", gap, 0.1 if context.quick else 0.05),
    ]


@entry("D3-09", title="Training needs only the direction from data to latents")
def one_direction(context: Context) -> list[Check]:
    """A flow whose other direction raises is trained all the same."""

    class OneWay(dgm.Bijector):
        def __init__(self) -> None:
            self.event_shape = (2,)
            self.log_scale = nnx.Param(jnp.zeros(2))

        def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
            scale = jnp.broadcast_to(self.log_scale[...], x.shape)
            return x * jnp.exp(-scale), -scale.sum(-1)

    x = 3.0 * jax.random.normal(_KEY, (2_000, 2))
    fitted = dgm.fit(
        dgm.Flow(OneWay()), x, seed=_KEY, steps=context.size(300, 300), optimizer=optax.adam(0.03),
        ema_decay=0.0, progress=False,
    )  # fmt: skip
    trained: Any = fitted.model.bijector
    scale = float(jnp.exp(trained.log_scale[...]).mean())
    return [close("scale found, of 3", scale, 3.0, 0.1)]
