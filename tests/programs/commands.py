"""Commands of one of several processes: ``python -m tests.programs.commands PORT PROCESSES PROCESS COMMANDS``.

``COMMANDS`` is a JSON list of ``[module, argument, ...]``, run one after the other as from the command line, with the
options that start the processes. The classifier that ``score`` trains is a tiny one.
"""

import dataclasses
import importlib
import json
import sys

from experiments.commands import score
from experiments.configs import load_config
from experiments.settings.config import Config


def tiny(name: str) -> Config:
    config = load_config(name)
    return dataclasses.replace(
        config,
        max_rows=64,
        model=dataclasses.replace(config.model, filters=(4, 4, 4, 4), units=(1, 1, 1)),
        training=dataclasses.replace(config.training, steps=4, batch_size=16, eval_every=4),
    )


def main() -> None:
    port, processes, process, commands = sys.argv[1:]
    score.load_config = tiny
    for name, *arguments in json.loads(commands):
        importlib.import_module(f"experiments.{name}").main(
            [
                *arguments,
                *("--distributed", "--coordinator", f"127.0.0.1:{port}"),
                *("--num-processes", processes, "--process-id", process),
            ]
        )


if __name__ == "__main__":
    main()
