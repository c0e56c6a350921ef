"""Draw paths between images: run `experiments.commands.interpolate`."""

from experiments.commands.interpolate import main

if __name__ == "__main__":
    main()
