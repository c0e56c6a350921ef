"""Figures of variational autoencoders: curves, samples, the plane of two latents, what an autoencoder is not."""

from experiments.reproduce.entry import Check, Context, at_least, at_most, entry


@entry("A4-14", title="FIGURE: curves of the negative ELBO with 20 and with 2 latents")
def curves(context: Context) -> list[Check]:
    """Both fall; 20 latents end lower."""
    options = {"epochs": 24, "rows": None, "width": 256} if context.quick else {}
    record = context.figure("vae_curves", **options)["latents"]
    return [
        at_most(
            "train, 20 latents less 2 latents, nats",
            record["20"]["train"][-1] - record["2"]["train"][-1],
            0.0,
        ),
        at_most(
            "train at the end less at epoch 1, 2 latents",
            record["2"]["train"][-1] - record["2"]["train"][1],
            0.0,
        ),
    ]


@entry("A4-15", title="FIGURE: samples along the training")
def samples(context: Context) -> list[Check]:
    """The validation ELBO rises from panel to panel."""
    elbo = context.figure("vae_samples")["validation_elbo_nats"]
    return [at_least("ELBO at the end less at the start, nats", elbo[-1] - elbo[0], 20.0)]


@entry("A4-16", title="FIGURE: the plane that two latents decode to")
def manifold(context: Context) -> list[Check]:
    """Neighbours are alike, pictures half a side apart are not."""
    record = context.figure("vae_manifold")
    ratio = record["difference_of_neighbours"][-1] / record["difference_across_half"][-1]
    return [at_most("difference of neighbours over that across half the plane", ratio, 0.7)]


@entry("A4-01", "A4-02", title="FIGURE: an autoencoder is no generative model")
def autoencoder(context: Context) -> list[Check]:
    """Decoded N(0, I) under a third model: medians in nats."""
    record = context.figure("autoencoder")["log_prob_of_pictures_nats"]
    gap = record["VAE"]["N(0, I)"][1] - record["autoencoder"]["N(0, I)"][1]
    return [
        at_least("log-likelihood of the VAE's pictures less the autoencoder's, nats", gap, 20.0)
    ]
