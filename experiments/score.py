"""Score the samples of a run by a classifier: run `experiments.commands.score`."""

from experiments.commands.score import main

if __name__ == "__main__":
    main()
