"""What each library has: the table of `experiments.benchmarks.features`."""

from collections.abc import Mapping
from typing import NamedTuple


class Library(NamedTuple):
    """A peer.

    Attributes:
      title: as the table has it.
      package: whose sources are read.
      built_on: array library and module system.
    """

    title: str
    package: str
    built_on: str


class Feature(NamedTuple):
    """A row.

    Attributes:
      title: in words.
      words: pattern of names that sound like it, in any case.
      names: a class or function that has it, by library.
      unrelated: names that sound like it and are something else, by reading them.
    """

    title: str
    words: str
    names: Mapping[str, str]
    unrelated: frozenset[str] = frozenset()


LIBRARIES = (
    Library("dgmjax", "dgmjax", "JAX, Flax"),
    Library("flowjax", "flowjax", "JAX, Equinox"),
    Library("distrax", "distrax", "JAX"),
    Library("TFP", "tensorflow_probability.substrates.jax", "JAX"),
    Library("normflows", "normflows", "PyTorch"),
    Library("nflows", "nflows", "PyTorch"),
    Library("zuko", "zuko", "PyTorch"),
    Library("pythae", "pythae", "PyTorch"),
)

FEATURES = (
    Feature(
        "couplings of vectors",
        r"coupling|realnvp$",
        {
            "dgmjax": "RealNVP",
            "flowjax": "Coupling",
            "distrax": "MaskedCoupling",
            "TFP": "RealNVP",
            "normflows": "AffineCouplingBlock",
            "nflows": "AffineCouplingTransform",
            "zuko": "RealNVP",
        },
    ),
    Feature(
        "autoregressive flows",
        r"masked.*autoreg|^maf$",
        {
            "dgmjax": "MAF",
            "flowjax": "MaskedAutoregressive",
            "TFP": "MaskedAutoregressiveFlow",
            "normflows": "MaskedAffineAutoregressive",
            "nflows": "MaskedAutoregressiveFlow",
            "zuko": "MAF",
            "pythae": "MAF",
        },
    ),
    Feature(
        "rational-quadratic splines",
        r"rational.?quadratic|rqs",
        {
            "dgmjax": "SplineTransformer",
            "flowjax": "RationalQuadraticSpline",
            "distrax": "RationalQuadraticSpline",
            "TFP": "RationalQuadraticSpline",
            "normflows": "CoupledRationalQuadraticSpline",
            "nflows": "PiecewiseRationalQuadraticCouplingTransform",
            "zuko": "MonotonicRQSTransform",
        },
    ),
    Feature(
        "planar or radial flows",
        r"planar|radial",
        {
            "dgmjax": "PlanarFlow",
            "flowjax": "Planar",
            "normflows": "Planar",
            "pythae": "PlanarFlow",
        },
    ),
    Feature(
        "residual flows",
        r"lipschitz|residual_?flow|i_?resnet",
        {"dgmjax": "ResidualFlow", "normflows": "LipschitzMLP"},
    ),
    Feature(
        "neural or polynomial monotone maps",
        r"^u?naf$|block.*autoreg|bernstein|polynomial|umnn",
        {"flowjax": "BlockAutoregressiveNetwork", "zuko": "NAF"},
        unrelated=frozenset({"Polynomial"}),  # TFP: a kernel of Gaussian processes
    ),
    Feature("continuous-time flows", r"ffjord|^cnf", {"TFP": "FFJORD", "zuko": "CNF"}),
    Feature(
        "invertible 1x1 convolutions",
        r"1x1|one_?by_?one",
        {
            "dgmjax": "Invertible1x1Conv",
            "normflows": "Invertible1x1Conv",
            "nflows": "OneByOneConvolution",
        },
    ),
    Feature(
        "multi-scale image flows",
        r"multi_?scale",
        {
            "dgmjax": "MultiScale",
            "normflows": "MultiscaleFlow",
            "nflows": "MultiscaleCompositeTransform",
        },
    ),
    Feature(
        "Flow++: mixtures of logistics as couplings",
        r"flow_?(pp|plus)|logistic.*mix|mix.*logis",
        {"dgmjax": "FlowPP"},
    ),
    Feature("dequantization, uniform and variational, in the likelihood", r"dequant", {"dgmjax": "Dequantized"}),
    Feature("PixelCNN", r"pixel_?cnn", {"dgmjax": "PixelCNNpp", "pythae": "PixelCNN"}),
    Feature("surjections and stochastic layers", r"surject|stochastic_?(flow|transform)", {"dgmjax": "StochasticFlow"}),
    Feature(
        "variational autoencoders",
        r"vae$",
        {"dgmjax": "VAE", "normflows": "NormalizingFlowVAE", "pythae": "VAE"},
    ),
    Feature("VampPrior", r"vamp", {"dgmjax": "VampPrior", "pythae": "VAMP"}),
    Feature(
        "importance-weighted bounds",
        r"iwae|importance_weight",
        {"dgmjax": "iwae", "TFP": "importance_weighted_divergence_fn", "pythae": "IWAE"},
    ),
    Feature("ELBO surgery", r"surgery", {"dgmjax": "elbo_surgery"}),
    Feature(
        "adversarial networks",
        r"gan$|^gan",
        {"dgmjax": "GAN", "pythae": "VAEGAN"},
        unrelated=frozenset({"modified_gan"}),  # TFP: a divergence
    ),
    Feature("reversible classifiers", r"rev_?net", {"dgmjax": "RevNet"}),
    Feature("gradients without stored activations", r"reversible", {"dgmjax": "reversible_scan"}),
    Feature(
        "a training loop",
        r"^fit|trainer$",
        {"dgmjax": "fit", "flowjax": "fit_to_data", "TFP": "fit_surrogate_posterior", "pythae": "BaseTrainer"},
    ),
    Feature("runs that resume with the same bits", r"resume|checkpoints", {"dgmjax": "Checkpoints"}),
    Feature(
        "many devices",
        r"shard|mesh|pmap",
        {"dgmjax": "Parallel", "TFP": "Sharded", "pythae": "DistributedDataParallel"},
        unrelated=frozenset({"experimental_shard_axis_names"}),  # distrax: what TFP asks of its classes; always empty
    ),
    Feature("checks for layers of your own", r"^check_bij|^check_dens|assert_bij", {"dgmjax": "check_bijector"}),
)  # fmt: skip
