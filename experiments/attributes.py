"""Move images along an attribute: run `experiments.commands.attributes`."""

from experiments.commands.attributes import main

if __name__ == "__main__":
    main()
