"""Evaluate a finished run: run `experiments.commands.evaluate`."""

from experiments.commands.evaluate import main

if __name__ == "__main__":
    main()
