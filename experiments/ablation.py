"""Train the ablations of Glow or Flow++: run `experiments.commands.ablation`."""

from experiments.commands.ablation import main

if __name__ == "__main__":
    main()
