"""Command line of the data room: ``python -m dgmjax.data prepare mnist``, or ``power``."""

import argparse
import sys

from dgmjax.data.power import prepare_power
from dgmjax.data.tfds.preparation import prepare
from dgmjax.data.tfds.prepared import PREPARABLE


def main(arguments: list[str] | None = None) -> None:
    """Prepare a set; ends with status 1 and one message if that is impossible."""
    parser = argparse.ArgumentParser(
        prog="python -m dgmjax.data",
        description="Prepare data sets for dgmjax.data.load_dataset, without TensorFlow.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("prepare", help="download, verify and write a set")
    command.add_argument("name", help=f"{', '.join(PREPARABLE)} or power")
    command.add_argument(
        "--data-dir",
        help="where prepared sets lie; default $TFDS_DATA_DIR, else ~/tensorflow_datasets",
    )
    command.add_argument(
        "--manual-dir", help="take the downloaded .gz files from here, without network"
    )
    command.add_argument(
        "--source",
        help="of power: take the archive of UCI, its text file or an .npz from here, without network",
    )
    options = parser.parse_args(arguments)
    if options.source is not None and options.name != "power":
        parser.error(f"--source is for power; files of {options.name} lie in --manual-dir")
    if options.manual_dir is not None and options.name == "power":
        parser.error("--manual-dir is for sets of images; the file of power is --source")
    try:
        if options.name == "power":
            path = prepare_power(source=options.source, data_dir=options.data_dir)
            print(f"power is ready in {path.parent}")
            return
        prepared = prepare(options.name, data_dir=options.data_dir, manual_dir=options.manual_dir)
    except (ImportError, ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    sizes = ", ".join(f"{split} {size:,}" for split, size in prepared.sizes.items())
    print(f"{prepared.name} is ready in {prepared.directory}: {sizes}")


if __name__ == "__main__":
    main()
