"""Tell data sets apart: run `experiments.commands.outliers`."""

from experiments.commands.outliers import main

if __name__ == "__main__":
    main()
