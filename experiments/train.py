"""Train a config: run `experiments.commands.train`."""

from experiments.commands.train import main

if __name__ == "__main__":
    main()
