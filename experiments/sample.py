"""Sample a finished run: run `experiments.commands.sample`."""

from experiments.commands.sample import main

if __name__ == "__main__":
    main()
