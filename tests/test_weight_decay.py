"""What weight decay acts on: the kernels of networks, whatever their rank, in every model of the library."""

import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax import training
from dgmjax.distributions.posteriors import posterior
from dgmjax.distributions.priors import GaussianMixture, VampPrior
from tests.rows import BIJECTORS

pytestmark = pytest.mark.usefixtures("x32")

# One line an array: `+` if weight decay acts on it, and its name without the indices of lists and stacked layers. To
# renew it, `python -m tests.test_weight_decay`, and read the difference.
TABLE = pathlib.Path(__file__).parent / "weight_decay.txt"

V, C, IMAGE = (4,), {"context_shape": (3,)}, (4, 4, 2)
NET = {"width": 4, "hidden_layers": 1}
SMALL = {"width": 4, "depth": 2}
UNITS = {"filters": (4, 4, 8, 8), "units": (1, 1, 1)}
WIDTHS = {"generator_widths": (8, 4), "discriminator_widths": (4, 8)}
MODELS = {
    "FlowPP": lambda r: dgm.FlowPP(IMAGE, num_components=2, num_heads=2, **C, **SMALL, rngs=r),
    "FlowPPDequantizer": lambda r: dgm.FlowPPDequantizer(IMAGE, num_heads=2, **SMALL, rngs=r),
    "GAN": lambda r: dgm.GAN(V, spectral_norm=True, **WIDTHS, rngs=r),
    "GAN, images": lambda r: dgm.GAN((8, 8, 1), network="conv", **WIDTHS, rngs=r),
    "Glow": lambda r: dgm.Glow(IMAGE, levels=2, **C, **SMALL, rngs=r),
    "Glow, dense mixing": lambda r: dgm.Glow(IMAGE, levels=2, parametrization="dense", **SMALL, rngs=r),
    "HierarchicalVAE": lambda r: dgm.HierarchicalVAE(
        V, latent_dims=(2, 2), prior=GaussianMixture(2, 3, rngs=r), **SMALL, rngs=r),
    "IAF": lambda r: dgm.IAF(V, depth=2, **C, **NET, rngs=r),
    "IAFVAE": lambda r: dgm.IAFVAE((8, 8, 1), 4, resolutions=1, latent_channels=2, **SMALL, rngs=r),
    "IRevNet": lambda r: dgm.IRevNet((4, 4, 8), 3, blocks=(1, 1), strides=(1, 2), rngs=r),
    "MAF": lambda r: dgm.MAF(V, depth=2, **C, **NET, rngs=r),
    "NICE": lambda r: dgm.NICE(V, depth=2, **NET, rngs=r),
    "NeuralSplineFlow": lambda r: dgm.NeuralSplineFlow(V, depth=2, **NET, rngs=r),
    "PixelCNNpp": lambda r: dgm.PixelCNNpp((8, 8, 1), 4, num_components=2, **C, **SMALL, rngs=r),
    "PixelCNNpp, gated": lambda r: dgm.PixelCNNpp((8, 8, 1), 4, variant="gated", **C, **SMALL, rngs=r),
    "PlanarFlow": lambda r: dgm.PlanarFlow(V, depth=2, **NET, rngs=r),
    "PlanarFlow, context": lambda r: dgm.PlanarFlow(V, depth=2, **C, **NET, rngs=r),
    "PreActResNet": lambda r: dgm.PreActResNet((8, 8, 1), 3, **UNITS, rngs=r),
    "RadialFlow": lambda r: dgm.RadialFlow(V, depth=2, **NET, rngs=r),
    "RealNVP": lambda r: dgm.RealNVP(V, depth=4, **C, **NET, rngs=r),
    "ImageRealNVP": lambda r: dgm.ImageRealNVP(IMAGE, depth=2, normalization="batch", **NET, rngs=r),
    "ResidualFlow": lambda r: dgm.ResidualFlow(V, depth=2, **C, **NET, rngs=r),
    "RevNet": lambda r: dgm.RevNet((8, 8, 1), 3, **UNITS, rngs=r),
    "SparseAutoencoder": lambda r: dgm.SparseAutoencoder(V, 2, **SMALL, rngs=r),
    "VAE": lambda r: dgm.VAE(V, latent_dim=2, prior=VampPrior(V, 3, rngs=r), posterior="iaf", posterior_width=4,
                           posterior_depth=1, context_size=3, network="gated_mlp", **SMALL, rngs=r),
    "VAE, images": lambda r: dgm.VAE((8, 8, 1), latent_dim=2, network="residual_conv", num_levels=4,
                                   likelihood="discretized_logistic_mixture", **SMALL, rngs=r),
    "VLAE": lambda r: dgm.VLAE((8, 8, 1), 4, latent_dim=2, prior_width=4, pixel_width=4, context_channels=2,
                              **SMALL, rngs=r),
}  # fmt: skip
# Functions that make flows, classes without arrays of their own, or inside those above.
PARTS = {
    "Classifier", "FlowPrior", "LadderLayer", "LayerTerms", "LatentVariableModel", "LocalPixelCNN",
}  # fmt: skip


def names_of(model) -> dict[str, bool]:
    """Whether an array is decayed, by its name without indices."""
    params, _, _ = training.partition(model)
    found: dict[str, bool] = {}
    for name, acts in training.decayed(params).items():
        words = "/".join(word for word in name.split("/") if not word.isdigit())
        assert found.setdefault(words, acts) == acts, name
    return found


def table() -> str:
    """Every model, then the last words of the names in every layer of the table of laws and in every posterior."""
    lines = []
    for model, make in MODELS.items():
        names = names_of(jax.eval_shape(lambda make=make: make(nnx.Rngs(0))))
        lines += [model, *(f"  {'+' if names[n] else '-'} {n}" for n in sorted(names)), ""]
    layers = {name: row.make for name, row in BIJECTORS.items()}
    for name in ("full_covariance", "planar", "radial", "sylvester", "coupling"):
        layers[name] = lambda r, name=name: posterior(name, 2, width=4, context_size=3, rngs=r)
    words: dict[str, bool] = {}
    for name, make in layers.items():
        for path, acts in names_of(jax.eval_shape(lambda make=make: make(nnx.Rngs(0)))).items():
            assert words.setdefault(path.split("/")[-1], acts) == acts, (name, path)
    lines += [
        "layers and posteriors",
        *(f"  {'+' if words[w] else '-'} {w}" for w in sorted(words)),
    ]
    return "\n".join(lines) + "\n"


def test_the_table_says_what_is_decayed_in_every_model():
    made = {name.partition(",")[0] for name in MODELS}
    assert made | PARTS == set(dgm.models.__all__)
    assert table().splitlines() == TABLE.read_text().splitlines()


class Own(nnx.Module):
    """A module of somebody else: layers of Flax, a list of them, an array with another name."""

    def __init__(self, rngs: nnx.Rngs):
        self.table = nnx.Embed(3, 4, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs), nnx.Conv(4, 4, (3,), rngs=rngs)])
        self.norm, self.batch = nnx.LayerNorm(4, rngs=rngs), nnx.BatchNorm(4, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 4, decode=False, rngs=rngs)
        self.matrix = nnx.Param(jnp.ones((4, 4)))


def test_layers_of_flax_and_other_pytrees_are_told_by_their_names():
    model = Own(nnx.Rngs(0))
    names = names_of(model)
    kernels = {f"attention/{part}/kernel" for part in ("query", "key", "value", "out")}
    assert {name for name, acts in names.items() if acts} == kernels | {
        "table/embedding",
        "layers/kernel",
    }
    assert {"norm/scale", "batch/bias", "layers/bias", "matrix"} <= set(names)
    # The state of Flax, and dicts of dicts, say the same.
    state = training.decayed(nnx.state(model, nnx.Param))
    assert sum(jax.tree.leaves(state)) == sum(
        training.decayed(training.partition(model)[0]).values()
    )
    nested = {"dense": {"kernel": jnp.ones(3), "bias": jnp.ones((2, 2))}, "kernels": [jnp.ones(2)]}
    assert training.decayed(nested) == {"dense": {"kernel": True, "bias": False}, "kernels": [True]}
    assert training.decayed(jnp.ones((2, 2))) is False


@pytest.mark.parametrize("algorithm", ["adamw", "adamax", "sgd"])
def test_a_step_without_a_gradient_shrinks_kernels_and_leaves_everything_else_as_it_is(algorithm):
    """Of a stacked flow, where a bias has two axes and a scale too."""
    flow = dgm.Glow(IMAGE, levels=2, **C, **SMALL, rngs=nnx.Rngs(0))
    params, _, _ = training.partition(flow)
    random = np.random.RandomState(0)
    params = {name: jnp.asarray(random.normal(size=a.shape), a.dtype) for name, a in params.items()}
    optimizer = training.default_optimizer(
        learning_rate=0.1, steps=9, weight_decay=0.5, algorithm=algorithm, schedule="constant"
    )

    @jax.jit
    def step(params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        updates, _ = optimizer.update(zeros, optimizer.init(params), params)
        return optax.apply_updates(params, updates)

    acts, after = training.decayed(params), step(params)
    kernels = {name: array for name, array in params.items() if acts[name]}
    others = {name: array for name, array in params.items() if not acts[name]}
    assert {name.split("/")[-1] for name in kernels} == {"kernel", "context_kernel", "edge"}
    assert max(array.ndim for array in others.values()) > 2
    chex.assert_trees_all_equal({name: after[name] for name in others}, others)
    for name, array in kernels.items():
        np.testing.assert_allclose(after[name], 0.95 * array, rtol=1e-6)


if __name__ == "__main__":
    TABLE.write_text(table())
