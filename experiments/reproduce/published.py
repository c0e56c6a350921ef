"""Published numbers, to stand beside ours."""
# ruff: noqa: E501 - a row a line

from typing import NamedTuple


class Published(NamedTuple):
    """A number of a paper or of its authors' code.

    Attributes:
      model: with its size where it was printed.
      number: as it was printed, with its unit.
      kind: exact, or which bound.
      source: where it is from.
    """

    model: str
    number: str
    kind: str
    source: str


PUBLISHED: dict[str, tuple[Published, ...]] = {
    "CIFAR-10, bits/dim (no CIFAR-10 model is trained here: no accelerator yet)": (
        Published("RealNVP, 6.4 M parameters", "3.49", "uniform dequantization", "lecture; arXiv:1605.08803"),
        Published("Glow, 44.2 M", "3.35", "uniform dequantization", "lecture; arXiv:1807.03039"),
        Published("Residual flow, 25.2 M", "3.28", "unbiased log-determinant", "authors' code, arXiv:1906.02735"),
        Published("IAF-VAE", "3.11, 3.15 with one sample", "10,000 samples", "lecture; arXiv:1606.04934"),
        Published("Flow++, 31.4 M", "3.08", "variational dequantization, importance-weighted", "lecture; arXiv:1902.00275"),
        Published("PixelCNN / Gated PixelCNN / PixelRNN", "3.14 / 3.03 / 3.00", "exact", "lecture"),
        Published("PixelCNN++, 53.7 M", "2.92", "exact", "lecture; arXiv:1701.05517"),
    ),
    "MNIST, 8 bits, bits/dim": (
        Published("NICE, re-implementation", "4.34", "uniform dequantization", "its repository"),
        Published("RealNVP", "1.06", "uniform dequantization", "arXiv:1906.02735"),
        Published("Glow", "1.05", "uniform dequantization", "arXiv:1906.02735"),
        Published("MLP RealNVP, 8 x 1024", "1.82 train, 1.83 validation", "uniform dequantization", "assignment"),
        Published("convolutional flow, 556 k", "1.078", "uniform dequantization, 8 samples", "course notebook"),
        Published("the same, multi-scale, variational dequantization, 1.7 M", "1.021", "8 samples", "course notebook"),
    ),
    "MNIST, static binarisation, nats": (
        Published("MLP VAE, 20 latents, 40 epochs", "101.9", "ELBO, validation", "assignment"),
        Published("MLP VAE, 2 latents, 40 epochs", "151.2", "ELBO, validation", "assignment"),
        Published("DLGM / with planar flows of 10, 20, 40, 80", "89.9 / 87.5, 86.5, 85.7, 85.1", "bounds", "lecture; arXiv:1505.05770"),
        Published("IAF VAE / AF VAE / VLAE", "79.88 / 79.30 / 79.03", "bounds", "lecture; arXiv:1611.02731"),
    ),
    "Digits, 17 levels, nats, validation": (
        Published("causal convolutions", "88.7", "exact", "course notebook, read from its figure, +- 0.3"),
        Published("VAE, 16 latents", "100.5", "ELBO", "course notebook, read from its figure, +- 0.3"),
        Published("integer discrete flow", "137.6", "exact", "course notebook, read from its figure, +- 0.3"),
        Published("RealNVP, 8 couplings", "168.4", "ELBO, corrected: it was printed as 124.1 of another noise", "course notebook"),
    ),
    "CIFAR-10, classification error in % (no CIFAR-10 model is trained here)": (
        Published("ResNet-32 / RevNet-38", "7.14 / 7.24", "", "lecture; arXiv:1707.04585"),
        Published("ResNet-110 / RevNet-110", "5.74 / 5.76", "", "lecture; arXiv:1707.04585"),
        Published("ResNet-164 / RevNet-164", "5.24 / 5.17", "", "lecture; arXiv:1707.04585"),
    ),
}  # fmt: skip


class Beside(NamedTuple):
    """Published numbers that a run of ours may stand beside: the same data, and the same kind of number or nearly.

    Attributes:
      title: of a table above.
      models: of its rows.
      split: of ours, as theirs is.
      why: where we are behind or ahead, and by what.
    """

    title: str
    models: tuple[str, ...]
    split: str
    why: str


_MNIST, _BINARY = "MNIST, 8 bits, bits/dim", "MNIST, static binarisation, nats"
_DIGITS = "Digits, 17 levels, nats, validation"
_SMALL = "behind: a small model, 10,000 steps on 2 CPU cores; theirs are many times larger, trained for days on accelerators"

BESIDE: dict[str, Beside] = {
    "glow_mnist": Beside(_MNIST, ("Glow", "RealNVP", "convolutional flow, 556 k"), "test", _SMALL),
    "nice_mnist": Beside(_MNIST, ("NICE, re-implementation",), "test", "ahead by the fixed first layer, a histogram of each pixel, which theirs has not; 2,000 steps"),
    "vae_mnist": Beside(_BINARY, ("MLP VAE, 20 latents, 40 epochs",), "validation", "the same network and length, another binarisation and other validation images: no more than level can be said"),
    "pixelcnnpp_digits": Beside(_DIGITS, ("causal convolutions",), "validation", "ahead: gated blocks, mixtures of logistics instead of free categories, dropout"),
    "vae_digits": Beside(_DIGITS, ("VAE, 16 latents",), "validation", "ahead: mixtures of logistics, augmentation, dropout, averaged weights"),
    "realnvp_digits": Beside(_DIGITS, ("RealNVP, 8 couplings",), "validation", "ahead: a histogram layer first, augmentation, dropout, weight decay"),
}  # fmt: skip


def beside(run: str) -> list[Published]:
    """The published rows beside a run; none where nobody published on its data with its kind of number."""
    if run not in BESIDE:
        return []
    rows = {row.model: row for row in PUBLISHED[BESIDE[run].title]}
    return [rows[model] for model in BESIDE[run].models]
