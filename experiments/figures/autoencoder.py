"""Why an autoencoder is no generative model: it and a VAE decode N(0, I), and a third model judges the pictures."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import dgmjax as dgm
from dgmjax.plots.canvas import INK, new_figure, save_figure
from experiments.figures._mosaic import mosaic, show_images
from experiments.figures._vae import image_vae, load_images, train
from experiments.figures.registry import register
from experiments.run.results import write_json

_ROWS, _COLUMNS = 5, 8
_LEARNING_RATE = 1e-3


@register(quick={"epochs": 8, "width": 128, "steps": 200, "draws": 200, "rows": 400})
def draw(
    out: pathlib.Path,
    *,
    seed: int = 0,
    data: str = "digits",
    epochs: int = 60,
    latent_dim: int = 16,
    width: int = 256,
    steps: int = 1_500,
    draws: int = 1_000,
    rows: int | None = None,
) -> dict[str, Any]:
    """Write the picture ``out`` (.png) and the numbers beside it (.json); returns the numbers.

    Encoder and decoder of the two have the same sizes. The pictures are decoded means, rounded to levels, of codes from
    three sources: ``N(0, I)``, a Gaussian with the mean and the covariance of the codes of the training images, and the
    codes of test images. The judge is a third model, a `dgmjax.MAF` trained on the same images with uniform
    dequantization: the score is the median, with quartiles, of its bound on ``log p(x)`` of the pictures. Means would
    be those of the few pictures that it finds impossible.

    Args:
      out: the picture.
      seed: of the weights, the batches, the noise and the codes.
      data: grey images, by name, e.g. digits or mnist.
      epochs: of training of the VAE; the autoencoder takes as many steps.
      latent_dim: length of the codes.
      width: hidden units of the two layers of encoder and decoder.
      steps: of training of the judge.
      draws: pictures that are judged.
      rows: of each split, at most.
    """
    dataset = load_images(data, binary=False, rows=rows)
    models = {
        "autoencoder": _autoencoder(
            dataset, latent_dim, seed=seed, epochs=epochs, width=width
        ),
        "VAE": train(
            image_vae(dataset, latent_dim, width=width, seed=seed),
            dataset, seed=seed, epochs=epochs, ema_decay=0.99, data_init=True,
        ),
    }  # fmt: skip
    judge = _judge(dataset, seed=seed, steps=steps)

    def score(images: np.ndarray) -> list[float]:
        values = np.asarray(
            jax.jit(lambda m, x: m.log_prob(x, seed=jax.random.key(seed), num_samples=4))(
                judge, jnp.asarray(images)
            )
        )
        return np.quantile(values.astype(np.float64), [0.25, 0.5, 0.75]).tolist()

    key = jax.random.key(seed)
    noise = jax.random.normal(key, (draws, latent_dim))
    scores: dict[str, dict[str, list[float]]] = {}
    shown: dict[str, dict[str, np.ndarray]] = {}
    for name, model in models.items():
        codes = {split: _codes(model, getattr(dataset, split)) for split in ("train", "test")}
        factor = np.linalg.cholesky(np.cov(codes["train"].T) + 1e-6 * np.eye(latent_dim))
        sources = {
            "N(0, I)": noise,
            "Gaussian of the codes": codes["train"].mean(0)[None]
            + noise @ factor.T.astype(np.float32),
            "codes of test images": codes["test"][:draws],
        }
        decoded = {source: _decoded(model, dataset, z) for source, z in sources.items()}
        scores[name] = {source: score(images) for source, images in decoded.items()}
        shown[name] = {source: images[: _ROWS * _COLUMNS] for source, images in decoded.items()}
    record = {
        "data": dataset.name,
        "rows": {split: len(getattr(dataset, split)) for split in ("train", "validation", "test")},
        "seed": seed,
        "epochs": epochs,
        "latents": latent_dim,
        "width": width,
        "judge": "MAF, uniform dequantization, importance-weighted bound with K = 4; quartiles over pictures",
        "pictures": draws,
        "log_prob_of_pictures_nats": scores,
        "log_prob_of_test_images_nats": score(dataset.test[:draws]),
    }
    _picture(out, shown, dataset, record)
    write_json(out.with_suffix(".json"), record)
    return record


def _autoencoder(
    dataset: dgm.data.Dataset, latent_dim: int, *, seed: int, epochs: int, width: int
) -> dgm.SparseAutoencoder:
    model = dgm.SparseAutoencoder(
        dataset.event_shape,
        latent_dim,
        num_levels=dataset.num_levels,
        width=width,
        depth=2,
        activation="silu",
        rngs=nnx.Rngs(seed),
    )
    loss = dgm.objectives.Reconstruction()
    every = max(1, len(dataset.train) // 20)
    return dgm.fit(
        model,
        dataset.train,
        seed=jax.random.key(seed),
        validation=dataset.validation,
        validation_loss=dgm.objectives.Reconstruction(dropout=False),
        monitor="squared_error",
        steps=epochs * every,
        eval_every=every,
        batch_size=20,
        optimizer=optax.adam(_LEARNING_RATE),
        loss=loss,
        watch=dgm.Watch(progress=False),
    ).model


def _judge(dataset: dgm.data.Dataset, *, seed: int, steps: int) -> dgm.Dequantized:
    shape = dataset.event_shape
    flow = dgm.MAF(
        shape, depth=6, width=256, dropout=0.1, preprocess=dgm.Standardize(shape), rngs=nnx.Rngs(seed + 1)
    )  # fmt: skip
    return dgm.fit(
        dgm.Dequantized(flow, dataset.num_levels or 2),
        dataset.train,
        seed=jax.random.key(seed + 1),
        validation=dataset.validation,
        steps=steps,
        eval_every=max(1, steps // 20),
        batch_size=100,
        watch=dgm.Watch(progress=False),
    ).model


def _codes(model: Any, x: np.ndarray) -> np.ndarray:
    """What an encoder makes of images; of the VAE the means of its posteriors."""
    features = jax.jit(lambda model, x: model.encode(x))(model, jnp.asarray(x))
    if isinstance(model, dgm.VAE):
        features, _ = dgm.posteriors.DiagonalGaussian(model.latent_dim).moments(features)
    return np.asarray(features)


def _decoded(model: Any, dataset: dgm.data.Dataset, z: Any) -> np.ndarray:
    """Decoded means as levels, integers ``[n, *event]``."""
    top = (dataset.num_levels or 2) - 1
    z = jnp.asarray(z, jnp.float32)
    if isinstance(model, dgm.VAE):
        means = jax.jit(lambda model, z: model.decoded_mean(z))(model, z)
    else:
        means = jax.jit(lambda model, z: 0.5 * top * (model.decode(z) + 1.0))(model, z)
    return np.clip(np.rint(np.asarray(means)), 0, top).astype(np.int32)


def _picture(
    out: pathlib.Path,
    shown: dict[str, dict[str, np.ndarray]],
    dataset: dgm.data.Dataset,
    record: dict[str, Any],
) -> None:
    top = (dataset.num_levels or 2) - 1
    figure = new_figure(11.0, 5.6)
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.05)
    grid = figure.subplots(len(shown), 3)
    for row, (name, sources) in zip(grid, shown.items(), strict=True):
        for axes, (source, images) in zip(row, sources.items(), strict=True):
            low, middle, high = record["log_prob_of_pictures_nats"][name][source]
            picture = mosaic(images / top, dataset, _COLUMNS)
            show_images(
                axes, picture, f"{name}, {source}\n{middle:.0f} ({low:.0f} to {high:.0f}) nats"
            )
    low, middle, high = record["log_prob_of_test_images_nats"]
    figure.suptitle(
        f"{record['data']}: decoded codes, and the median (quartiles) of their log-likelihood under a MAF; test images "
        f"{middle:.0f} ({low:.0f} to {high:.0f})",
        size=11,
        color=INK,
    )
    save_figure(figure, out)
