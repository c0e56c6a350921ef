"""`dgmjax.testing`: right objects pass, and each broken one is accused of the law it breaks."""

import dataclasses
import functools
import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dgmjax.testing import LawViolation, Tolerance, check_bijector, check_density

with warnings.catch_warnings():  # TensorFlow Probability uses names that JAX deprecates
    warnings.simplefilter("ignore", DeprecationWarning)
    import distrax


def data(shape, dtype=jnp.float64):
    return jax.random.normal(jax.random.key(0), shape, jnp.float64).astype(dtype)


register = functools.partial(
    jax.tree_util.register_dataclass, data_fields=["scale", "mask"], meta_fields=[]
)


@register
@dataclasses.dataclass
class Scale:
    """x = scale z on events of shape (3,): a plain pytree, with a boolean leaf for the ride."""

    scale: jax.Array
    mask: jax.Array
    event_shape = (3,)

    def forward_and_log_det(self, z):
        return z * self._scale(z), jnp.log(jnp.abs(self._scale(z))).sum(-1)

    def inverse_and_log_det(self, x):
        return x / self._scale(x), -jnp.log(jnp.abs(self._scale(x))).sum(-1)

    def _scale(self, x):
        return jnp.broadcast_to(self.scale, x.shape).astype(x.dtype)


def make_scale(cls=Scale):
    return cls(scale=jnp.array([2.0, -0.3, 1.5]), mask=jnp.array([True, False, True]))


class Affine:
    """Scalar events; not a pytree."""

    event_shape = ()

    def forward_and_log_det(self, z):
        return 2.0 * z + 1.0, jnp.full_like(z, np.log(2.0))

    def inverse_and_log_det(self, x):
        return (x - 1.0) / 2.0, jnp.full_like(x, -np.log(2.0))


class Sinh:
    """x = arcsinh(z), elementwise; the event rank is the caller's to say."""

    def forward_and_log_det(self, z):
        return jnp.arcsinh(z), -0.5 * jnp.log1p(z**2).sum(-1)

    def inverse_and_log_det(self, x):
        return jnp.sinh(x), jnp.log(jnp.cosh(x)).sum(-1)


class Rotation(nnx.Module):
    """x = R (exp(s) z), in two dimensions, with parameters."""

    def __init__(self):
        self.event_shape = (2,)
        self.log_scale = nnx.Param(jnp.array([0.3, -0.7]))
        self.angle = nnx.Param(jnp.array(0.8))

    def _matrix(self, dtype):
        cos, sin = jnp.cos(self.angle[...]), jnp.sin(self.angle[...])
        return jnp.stack([jnp.stack([cos, -sin]), jnp.stack([sin, cos])]).astype(dtype)

    def _log_scale(self, x):
        return jnp.broadcast_to(self.log_scale[...], x.shape).astype(x.dtype)

    def forward_and_log_det(self, z):
        s = self._log_scale(z)
        return (z * jnp.exp(s)) @ self._matrix(z.dtype).mT, s.sum(-1)

    def inverse_and_log_det(self, x):
        s = self._log_scale(x)
        return (x @ self._matrix(x.dtype)) * jnp.exp(-s), -s.sum(-1)


class Permutation:
    """Rows of a [2, 3] event, flattened on the latent side."""

    event_shape, latent_shape = (2, 3), (6,)
    order = np.array([2, 0, 1, 5, 3, 4])

    def forward_and_log_det(self, z):
        return z[..., np.argsort(self.order)].reshape(*z.shape[:-1], 2, 3), jnp.zeros_like(
            z[..., 0]
        )

    def inverse_and_log_det(self, x):
        return x.reshape(*x.shape[:-2], 6)[..., self.order], jnp.zeros_like(x[..., 0, 0])


class Conditional:
    """x = exp(c) z, the log-scale being the context; with a key, c passes dropout."""

    event_shape = (3,)

    def _log_scale(self, context, key):
        if key is None:
            return context
        return jnp.where(jax.random.bernoulli(key, 0.5, context.shape), 2.0 * context, 0.0)

    def forward_and_log_det(self, z, context, *, key=None):
        s = self._log_scale(context, key)
        return z * jnp.exp(s), s.sum(-1)

    def inverse_and_log_det(self, x, context, *, key=None):
        s = self._log_scale(context, key)
        return x * jnp.exp(-s), -s.sum(-1)


@jax.custom_vjp
def _cube(z):
    return z**3


_cube.defvjp(lambda z: (z**3, z), lambda z, g: (3.0 * z**2 * g,))


class CustomVjp:
    """x = cbrt(z): its inverse forbids forward-mode differentiation."""

    event_shape = (2,)

    def forward_and_log_det(self, z):
        return jnp.cbrt(z), -jnp.log(3.0 * jnp.cbrt(z) ** 2).sum(-1)

    def inverse_and_log_det(self, x):
        return _cube(x), jnp.log(3.0 * x**2).sum(-1)


class RevNet:
    """Additive halves of a 2-vector: y1 = x1 + F(x2), y2 = x2 + G(y1) (Gomez et al., 2017)."""

    event_shape = (2,)

    def inverse_and_log_det(self, x):  # data to latent, as the paper computes it
        y1 = x[..., 0] + jnp.sin(x[..., 1])
        y2 = x[..., 1] + jnp.tanh(y1)
        return jnp.stack([y1, y2], -1), jnp.zeros_like(y1)

    def forward_and_log_det(self, z):
        x2 = z[..., 1] - jnp.tanh(z[..., 0])
        x1 = z[..., 0] - jnp.sin(x2)
        return jnp.stack([x1, x2], -1), jnp.zeros_like(x1)


RIGHT = {
    "affine scalar": (Affine, data((5,)), {}),
    "affine without batch axes": (Affine, data(()), {}),
    "pytree": (make_scale, data((4, 3)), {}),
    "sinh": (Sinh, data((4, 3)), {"event_ndims": 1}),
    "sinh, float32": (Sinh, data((4, 3), jnp.float32), {"event_ndims": 1}),
    "sinh, bfloat16": (Sinh, data((4, 3), jnp.bfloat16), {"event_ndims": 1}),
    "rotation, nnx": (Rotation, data((5, 2)), {}),
    "permutation to another latent shape": (Permutation, data((4, 2, 3)), {}),
    "two batch axes and context": (Conditional, data((2, 2, 3)), {"context": data((2, 2, 3)) / 2}),
    "key": (
        Conditional,
        data((4, 3)),
        {"context": data((4, 3)) / 2, "key": jax.random.key(3)},
    ),
    "custom_vjp": (CustomVjp, 2.0 + 0.3 * data((4, 2)), {}),
    "additive coupling": (RevNet, data((4, 2)), {}),
}


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.one_in(3)
def test_right_bijectors_pass(name):
    make, x, options = RIGHT[name]
    check_bijector(make(), x, **options)


class WrongSign(Scale):
    def forward_and_log_det(self, z):
        x, log_det = super().forward_and_log_det(z)
        return x, -log_det

    def inverse_and_log_det(self, x):
        z, log_det = super().inverse_and_log_det(x)
        return z, -log_det


class OneWrongSign(Scale):
    def inverse_and_log_det(self, x):
        z, log_det = super().inverse_and_log_det(x)
        return z, -log_det


class Mean(Scale):
    def forward_and_log_det(self, z):
        x, log_det = super().forward_and_log_det(z)
        return x, log_det / 3.0

    def inverse_and_log_det(self, x):
        z, log_det = super().inverse_and_log_det(x)
        return z, log_det / 3.0


class MissingElement(Sinh):
    def forward_and_log_det(self, z):
        return jnp.arcsinh(z), -0.5 * jnp.log1p(z[..., 1:] ** 2).sum(-1)

    def inverse_and_log_det(self, x):
        return jnp.sinh(x), jnp.log(jnp.cosh(x[..., 1:])).sum(-1)


class Unsummed(Sinh):
    def inverse_and_log_det(self, x):
        return jnp.sinh(x), jnp.log(jnp.cosh(x))


class SummedOverBatch(Sinh):
    def inverse_and_log_det(self, x):
        return jnp.sinh(x), jnp.log(jnp.cosh(x)).sum()


class KeptAxis(Sinh):
    def forward_and_log_det(self, z):
        return jnp.arcsinh(z), -0.5 * jnp.log1p(z**2).sum(-1, keepdims=True)


class PrintedRevNet(RevNet):
    """The inverse with its steps in the printed order: x2 = y2 - F(y1), x1 = y1 - G(x2)."""

    def forward_and_log_det(self, z):
        x2 = z[..., 1] - jnp.sin(z[..., 0])
        x1 = z[..., 0] - jnp.tanh(x2)
        return jnp.stack([x1, x2], -1), jnp.zeros_like(x1)


class SamePermutationTwice(Permutation):
    def forward_and_log_det(self, z):
        return z[..., self.order].reshape(*z.shape[:-1], 2, 3), jnp.zeros_like(z[..., 0])


class Narrow(Sinh):
    def inverse_and_log_det(self, x):
        z, log_det = super().inverse_and_log_det(x)
        return z.astype(jnp.float32), log_det.astype(jnp.float32)


class NarrowLogDet(Sinh):
    def forward_and_log_det(self, z):
        x, log_det = super().forward_and_log_det(z)
        return x, log_det.astype(jnp.float32)


class Overflow(Sinh):
    def inverse_and_log_det(self, x):
        z, log_det = super().inverse_and_log_det(x)
        return z, jnp.where(x[..., 0] == x[..., 0].max(), jnp.inf, log_det)


class BatchMean:
    """z = x + mean over the batch: invertible on the batch, but not a map of events."""

    event_shape = (3,)

    def forward_and_log_det(self, z):
        return z - 0.5 * jnp.mean(jnp.atleast_2d(z), axis=0, keepdims=z.ndim > 1), self._zero(z)

    def inverse_and_log_det(self, x):
        return x + jnp.mean(jnp.atleast_2d(x), axis=0, keepdims=x.ndim > 1), self._zero(x)

    def _zero(self, x):
        return jnp.zeros_like(x[..., 0])


class FrontAxis(Sinh):
    def inverse_and_log_det(self, x):
        return jnp.sinh(x), jnp.log(jnp.cosh(x)).sum(1)


@register
class WhereGradient(Scale):
    """The scale through a jnp.where whose other branch has an infinite derivative."""

    def _scale(self, x):
        scale = super()._scale(x)
        return jnp.where(scale > 0, jnp.sqrt(scale), scale)


class WhereInput(Sinh):
    """sinh, plus a branch that no input takes and that has no derivative at these inputs."""

    def inverse_and_log_det(self, x):
        z, log_det = super().inverse_and_log_det(x)
        return jnp.where(x > -100.0, z, jnp.sqrt(x - 100.0)), log_det


class Counter(Affine):
    calls = 0

    def inverse_and_log_det(self, x):
        self.calls += 1
        z, log_det = super().inverse_and_log_det(x)
        return z + 0.1 * self.calls, log_det


class Traced(Affine):
    """Another result under tracing, the same one in every eager call."""

    def forward_and_log_det(self, z):
        x, log_det = super().forward_and_log_det(z)
        return (x + 0.5 if isinstance(z, jax.core.Tracer) else x), log_det


class Concrete(Affine):
    def forward_and_log_det(self, z):
        assert z.sum() < np.inf, "finite"
        return super().forward_and_log_det(z)


class WrongContext(Conditional):
    """Reads the first row of the context for all."""

    def _log_scale(self, context, key):
        row = context if context.ndim == 1 else jnp.broadcast_to(context[:1], context.shape)
        return super()._log_scale(row, key)


class Asserting(Affine):
    def inverse_and_log_det(self, x):
        raise AssertionError("log_det must be scalar")


ROWS = {"event_ndims": 1}
BROKEN = {
    "wrong sign": (lambda: make_scale(WrongSign), (4, 3), {}, {"log-det"}, "opposite sign"),
    "one wrong sign": (
        lambda: make_scale(OneWrongSign),
        (4, 3),
        {},
        {"log-det", "log-det cancellation"},
        "both directions report the same sign",
    ),
    "mean": (lambda: make_scale(Mean), (4, 3), {}, {"log-det"}, "a mean over the event rather"),
    "missing element": (
        MissingElement,
        (4, 3),
        ROWS,
        {"log-det"},
        "misses the contribution of element 0",
    ),
    "unsummed": (Unsummed, (4, 3), ROWS, {"shape"}, "not summed over the event axes"),
    "over batch": (SummedOverBatch, (4, 3), ROWS, {"shape"}, "reduced over the batch"),
    "kept axis": (KeptAxis, (4, 3), ROWS, {"shape"}, "drop keepdims=True"),
    "latent shape": (
        lambda: type("Undeclared", (Permutation,), {"latent_shape": (2, 3)})(),
        (4, 2, 3),
        {},
        {"shape"},
        r"got shape \(4, 6\), expected \(4, 2, 3\)",
    ),
    "printed RevNet": (PrintedRevNet, (4, 2), {}, {"round trip"}, "undo the steps in reverse"),
    "permutation": (SamePermutationTwice, (4, 2, 3), {}, {"round trip"}, "wrong order"),
    "float32": (
        Narrow,
        (4, 3),
        ROWS,
        {"dtype"},
        r"inverse\(x\) .*\n.*got float32, expected float64",
    ),
    "float32 log-det": (NarrowLogDet, (4, 3), ROWS, {"dtype"}, "forward log-det has the dtype"),
    "infinite": (Overflow, (4, 3), ROWS, {"finite"}, r"batch index \(\d,\) \(1 of 4 values\): inf"),
    "batch statistic": (BatchMean, (4, 3), {}, {"batching", "log-det"}, "jax.vmap = batched"),
    "axis from the front": (FrontAxis, (4, 3), ROWS, {"batching"}, "counted from the front"),
    "NaN gradient of a parameter": (
        lambda: make_scale(WhereGradient),
        (4, 3),
        {},
        {"gradient"},
        r"d\['bijector'\].scale is finite\n.*element \(1,\) \(1 of 3 values\): nan\n *taken at -0\.3",
    ),
    "NaN gradient of the input": (
        WhereInput,
        (4, 3),
        ROWS,
        {"gradient"},
        r"d\['x'\] is finite(.|\n)*double-where",
    ),
    "state": (Counter, (4,), {}, {"deterministic", "jit", "round trip"}, "changes its own state"),
    "tracing": (Traced, (4,), {}, {"jit", "batching"}, "jax.jit = eager"),
    "concrete value": (Concrete, (4,), {}, {"jit"}, "raised TracerBoolConversionError"),
    "context row": (
        WrongContext,
        (4, 3),
        {"context": data((4, 3)) / 2},
        {"batching"},
        r"worst at batch index \([123],\)",
    ),
    "assertion": (Asserting, (4,), {}, {"shape"}, "log_det must be scalar"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_bijectors_are_accused(name):
    make, shape, options, laws, message = BROKEN[name]
    with pytest.raises(LawViolation, match=message) as error:
        check_bijector(make(), data(shape), check_gradients="gradient" in laws, **options)
    assert laws <= set(error.value.laws)
    # The innocent laws stay out: a wrong log-det must not be reported as a bad round trip.
    assert set(error.value.laws) <= laws | SIDE_EFFECTS.get(name, set())


SIDE_EFFECTS = {
    "state": {"batching"},
    "batch statistic": {"log-det cancellation"},
    "axis from the front": {"log-det"},
}


def test_report_tells_place_size_and_tolerance():
    with pytest.raises(LawViolation) as error:
        check_bijector(PrintedRevNet(), jnp.array([[0.0, 0.0], [0.5, 0.5]]))
    text = str(error.value)
    assert text.startswith("PrintedRevNet (event (2,), latent (2,), batch (2,), float64) breaks 1")
    assert "[round trip] forward(inverse(x)) = x" in text
    assert re.search(
        r"worst at batch index \(1,\), element \([01],\) \(2 of 4 values differ\)", text
    )
    assert re.search(r"\|difference\| = 0\.\d+ > 1\.5e-10 = 1e-10 \+ 1e-10 \* \|expected\|", text)


def test_gradient_law_can_be_switched_off():
    check_bijector(make_scale(WhereGradient), data((4, 3)), check_gradients=False)


def test_layer_is_called_a_few_times_whatever_the_batch():
    class Counted(Affine):
        calls = 0

        def inverse_and_log_det(self, x):
            Counted.calls += 1
            return super().inverse_and_log_det(x)

    check_bijector(Counted(), data((50,)))
    # Eager: first, again, round trip. Traced: jit, vmap, extra axis, Jacobian, gradient.
    assert Counted.calls == 8


def test_tolerance_decides():
    class Drift(Affine):
        def forward_and_log_det(self, z):
            x, log_det = super().forward_and_log_det(z)
            return x + 1e-6, log_det

    loose = dataclasses.replace(Tolerance.for_dtype(jnp.float64), round_trip=1e-5)
    check_bijector(Drift(), data((4,)), tolerance=loose)
    with pytest.raises(LawViolation, match=r"\[round trip\]"):
        check_bijector(Drift(), data((4,)))


def test_bad_arguments_are_explained():
    with pytest.raises(TypeError, match="must be floating, got int"):
        check_bijector(Affine(), jnp.arange(3))
    with pytest.raises(ValueError, match="pass event_ndims="):
        check_bijector(Sinh(), data((4, 3)))
    with pytest.raises(ValueError, match=r"event_shape is \(2,\)"):
        check_bijector(RevNet(), data((4, 3)))
    with pytest.raises(ValueError, match=r"must begin with the batch axes \(4,\)"):
        check_bijector(Conditional(), data((4, 3)), context=data((3,)))
    with pytest.raises(ValueError, match="at least 0"):
        Tolerance(round_trip=-1.0, log_det=0.0)
    with pytest.raises(ValueError, match=r"batch_shape \(2,\)"):
        check_density(distrax.Normal(jnp.zeros(2), jnp.ones(2)), seed=SEED)
    with pytest.raises(ValueError, match="limits are for event size 1 or 2"):
        check_density(Normal(3), seed=SEED, limits=(-1, 1))
    with pytest.raises(ValueError, match="lists a value twice"):
        check_density(Coin(), seed=SEED, support=[0, 1, 1])


SEED = jax.random.key(1)


class Normal:
    """Standard normal on an event shape; `scale` and `shift` are the sampler's alone."""

    def __init__(self, *event_shape, scale=1.0, shift=0.0):
        self.event_shape, self.scale, self.shift = event_shape or (2,), scale, shift

    def log_prob(self, x):
        axes = tuple(-1 - np.arange(len(self.event_shape)))
        return -0.5 * (x**2 + np.log(2 * np.pi)).sum(axes)

    def sample(self, *, seed, sample_shape=()):
        noise = jax.random.normal(seed, (*sample_shape, *self.event_shape))
        return self.shift + self.scale * noise

    def sample_and_log_prob(self, *, seed, sample_shape=()):
        x = self.sample(seed=seed, sample_shape=sample_shape)
        return x, self.log_prob(x)


class Given:
    """Normal with a context, which is its mean."""

    event_shape = (2,)

    def log_prob(self, x, context):
        return Normal().log_prob(x - jnp.broadcast_to(context, x.shape))

    def sample(self, *, seed, sample_shape=(), context):
        x = Normal().sample(seed=seed, sample_shape=sample_shape)
        return x + jnp.broadcast_to(context, x.shape)

    def sample_and_log_prob(self, *, seed, sample_shape=(), context):
        x = self.sample(seed=seed, sample_shape=sample_shape, context=context)
        return x, self.log_prob(x, context)


class Coin:
    """Integers 0 and 1; `heads` is the sampler's alone."""

    event_shape = ()

    def __init__(self, heads=0.3):
        self.heads = heads

    def log_prob(self, x):
        return jnp.log(jnp.where(x == 1, 0.3, 0.7))

    def sample(self, *, seed, sample_shape=()):
        return jax.random.bernoulli(seed, self.heads, sample_shape).astype(jnp.int32)

    def sample_and_log_prob(self, *, seed, sample_shape=()):
        x = self.sample(seed=seed, sample_shape=sample_shape)
        return x, self.log_prob(x)


class OutsideSupport(Normal):
    """Uniform on [0, 1], NaN elsewhere."""

    def log_prob(self, x):
        inside = ((x > 0) & (x < 1)).all(-1)
        return jnp.where(inside, 0.0, jnp.nan)

    def sample(self, *, seed, sample_shape=()):
        return jax.random.uniform(seed, (*sample_shape, *self.event_shape))


def mixture():
    return distrax.MixtureSameFamily(
        distrax.Categorical(probs=jnp.array([0.2, 0.5, 0.3])),
        distrax.Normal(jnp.array([-3.0, 0.0, 4.0]), jnp.array([0.5, 1.0, 0.1])),
    )


RIGHT_DENSITIES = {
    "normal, float32": (lambda: distrax.Normal(jnp.float32(1.0), jnp.float32(2.0)), {}),
    "uniform within limits": (OutsideSupport, {"limits": (0, 1), "smooth": False}),
    "two dimensions": (
        lambda: distrax.MultivariateNormalDiag(jnp.array([1.0, -2.0]), jnp.array([0.2, 3.0])),
        {},
    ),
    "event of 12 elements": (lambda: Normal(2, 2, 3), {}),
    "mixture": (mixture, {}),
    "categorical": (
        lambda: distrax.Categorical(probs=jnp.array([0.2, 0.3, 0.5])),
        {"support": [0, 1, 2]},
    ),
    "integers without support": (Coin, {}),
    "bits, joint support": (
        lambda: distrax.Independent(distrax.Bernoulli(probs=jnp.array([0.2, 0.6])), 1),
        {"support": [[0, 0], [0, 1], [1, 0], [1, 1]]},
    ),
    "context": (Given, {"context": jnp.array([3.0, -1.0])}),
}


@pytest.mark.parametrize("name", RIGHT_DENSITIES)
@pytest.mark.one_in(3)
def test_right_densities_pass(name):
    make, options = RIGHT_DENSITIES[name]
    # distrax itself relies on promotion; the laws run under the settings of the caller.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        check_density(make(), seed=SEED, **options)


class Unnormalized(Normal):
    def log_prob(self, x):
        return -0.5 * (x**2).sum(-1)


class SumOverBatch(Normal):
    def log_prob(self, x):
        return super().log_prob(x).sum()


class UnsummedDensity(Normal):
    def log_prob(self, x):
        return -0.5 * (x**2 + np.log(2 * np.pi))


class ForgottenLogDet(Normal):
    def sample_and_log_prob(self, *, seed, sample_shape=()):
        x, log_prob = super().sample_and_log_prob(seed=seed, sample_shape=sample_shape)
        return x, log_prob + 0.1


class IgnoresSeed(Normal):
    def sample(self, *, seed, sample_shape=()):
        return super().sample(seed=jax.random.key(7), sample_shape=sample_shape)


class OneDraw(Normal):
    def sample(self, *, seed, sample_shape=()):
        x = super().sample(seed=seed)
        return jnp.broadcast_to(x, (*sample_shape, *x.shape))


class HiddenRandomness(Normal):
    calls = 0

    def sample(self, *, seed, sample_shape=()):
        self.calls += 1
        return super().sample(seed=jax.random.fold_in(seed, self.calls), sample_shape=sample_shape)


class IgnoresShape(Normal):
    def sample(self, *, seed, sample_shape=()):
        return super().sample(seed=seed)


class NarrowDensity(Normal):
    def log_prob(self, x):
        return super().log_prob(x).astype(jnp.float32)


class BatchBaseline(Normal):
    def log_prob(self, x):
        return super().log_prob(x) + (0.0 if x.ndim == 1 else jnp.mean(x))


class Outlier(Normal):
    def log_prob(self, x):
        return jnp.where(x[..., 0] > 2.0, -jnp.inf, super().log_prob(x))


class TracedDensity(Normal):
    def log_prob(self, x):
        return super().log_prob(x) + (1e-3 if isinstance(x, jax.core.Tracer) else 0.0)


BROKEN_DENSITIES = {
    "unnormalized": (Unnormalized, {}, {"integral"}, r"log_prob is off by about 1\.8378"),
    "unnormalized, one dimension": (lambda: Unnormalized(1), {}, {"integral"}, "got 2.506628"),
    "wrong scale": (
        lambda: Normal(scale=1.2),
        {},
        {"samples", "score"},
        r"standard deviation \[1\.1",
    ),
    "wrong scale, one dimension": (
        lambda: Normal(1, scale=1.2),
        {},
        {"samples", "score"},
        "p log p",
    ),
    "wrong scale, five dimensions": (lambda: Normal(5, scale=1.2), {}, {"score"}, "expected -1"),
    "wrong place": (
        lambda: Normal(shift=0.3),
        {},
        {"samples", "score"},
        "function of coordinate 0",
    ),
    "wrong place, five dimensions": (lambda: Normal(5, shift=0.3), {}, {"score"}, "are shifted"),
    "over batch": (SumOverBatch, {}, {"log_prob shape"}, "reduced over the batch"),
    "unsummed": (UnsummedDensity, {}, {"log_prob shape"}, "not summed over the event axes"),
    "inconsistent pair": (ForgottenLogDet, {}, {"sample_and_log_prob"}, r"adds 0\.1 to every"),
    "ignores seed": (IgnoresSeed, {}, {"seed"}, "the sampler ignores its seed"),
    "one draw": (OneDraw, {}, {"seed"}, "one draw is broadcast to sample_shape"),
    "hidden randomness": (HiddenRandomness, {}, {"seed"}, "equal seeds give equal samples"),
    "ignores shape": (IgnoresShape, {}, {"sample shape"}, r"got shape \(2,\), expected \(3, 2\)"),
    "float32": (NarrowDensity, {}, {"dtype"}, "got float32, expected float64"),
    "batch statistic": (BatchBaseline, {}, {"batching"}, "log_prob: jax.vmap = batched"),
    "infinite": (Outlier, {}, {"finite"}, r"the input there is \[ ?[2-4]\."),
    "NaN outside support": (
        OutsideSupport,
        {"smooth": False},
        {"integral"},
        "return -inf there, or pass limits= inside it",
    ),
    "limits too narrow": (Normal, {"limits": (-1, 1)}, {"integral"}, "cut off mass"),
    "limits too wide": (Normal, {"limits": (-1e4, 1e4)}, {"integral"}, "narrow limits="),
    "tracing": (TracedDensity, {}, {"jit", "batching"}, "log_prob: jax.jit = eager"),
    "wrong frequency": (lambda: Coin(0.4), {"support": [0, 1]}, {"samples"}, "worst at value"),
    "incomplete support": (
        Coin,
        {"support": [0]},
        {"integral", "samples"},
        "support is not complete",
    ),
}


@pytest.mark.parametrize("name", BROKEN_DENSITIES)
@pytest.mark.one_in(2)
def test_broken_densities_are_accused(name):
    make, options, laws, message = BROKEN_DENSITIES[name]
    with pytest.raises(LawViolation, match=message) as error:
        check_density(make(), seed=SEED, **options)
    assert laws <= set(error.value.laws)
    assert set(error.value.laws) <= laws | DENSITY_SIDE_EFFECTS.get(name, set())


DENSITY_SIDE_EFFECTS = {
    "batch statistic": {"integral", "samples", "score"},
    "tracing": {"integral"},
}
