"""Compare priors or posteriors of a VAE: run `experiments.commands.vae_comparison`."""

from experiments.commands.vae_comparison import main

if __name__ == "__main__":
    main()
