"""Train the 2-D suite: run `experiments.commands.plane`."""

from experiments.commands.plane import main

if __name__ == "__main__":
    main()
