"""Plants the mutants of the table one at a time and runs the test that should fail.

`python -m tests.mutants [WORDS...]` takes those whose path or test contains one of the words; all without words. With
`--one-in N` it takes one in N of them, by a hash. It ends with 1 where a mutant does not do what the table says, or
where fewer than nine tenths die.
"""

import argparse
import concurrent.futures
import multiprocessing
import os
import pathlib
import queue
import shutil
import sys
import tempfile
import zlib

from tests.mutants.run import SHIFT, run_pytest
from tests.mutants.table import ROOT, Mutant, mutants, score

_WORKERS = int(os.environ.get("WORKERS", "2"))
_SECONDS = 600
_COPIED = ("dgmjax", "experiments", "tests", "docs", ".ci")
# Imported once, in the process that every run is forked from; they take longer than most tests.
_PRELOADED = [
    "jax",
    "flax.nnx",
    "optax",
    "distrax",
    "orbax.checkpoint",
    "pytest",
    "matplotlib.pyplot",
    "sklearn.datasets",
    "tensorboardX",
    "tyro",
]
# Pytest's exit status where a test failed, or a module could not be imported.
_FAILED = (SHIFT + 1, SHIFT + 2)
_SETTINGS = {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # as in the fast suite
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
}


def _copy(folder: pathlib.Path) -> pathlib.Path:
    for name in _COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    (folder / "tmp").mkdir()
    return folder


def dies(mutant: Mutant, copy: pathlib.Path) -> tuple[bool, str]:
    """Whether the test of the mutant fails in ``copy`` with the fault planted, and what pytest wrote."""
    path = copy / mutant.path
    source = path.read_text()
    if source.count(mutant.before) != 1:
        return False, f"its lines occur {source.count(mutant.before)} times in {mutant.path}"
    path.write_text(source.replace(mutant.before, mutant.after))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    run = context.Process(target=run_pytest, args=(mutant.verdict, copy))
    try:
        run.start()
        run.join(_SECONDS)
        if run.is_alive():
            run.kill()
            return True, "the test never ended"
    finally:
        path.write_text(source)
    return run.exitcode in _FAILED, (copy / "output").read_text()[-2_000:]


def main(words: list[str], one_in: int) -> int:
    """Runs the mutants, as many at a time as there are workers; the exit status."""
    table = mutants()
    chosen = [
        mutant
        for mutant in table
        if mutant.is_killed
        and (not words or any(word in mutant.path + mutant.verdict for word in words))
        and zlib.crc32(str(mutant).encode()) % one_in == 0
    ]
    wrong = []
    copies: queue.Queue[pathlib.Path] = queue.Queue()
    with tempfile.TemporaryDirectory() as name:
        # Of the programs of a test only those with the fault in them are compiled anew.
        os.environ |= _SETTINGS | {"JAX_COMPILATION_CACHE_DIR": f"{name}/cache"}
        for worker in range(_WORKERS):
            copies.put(_copy(pathlib.Path(name) / str(worker)))

        def check(mutant: Mutant) -> tuple[bool, str]:
            copy = copies.get()
            try:
                return dies(mutant, copy)
            finally:
                copies.put(copy)

        with concurrent.futures.ThreadPoolExecutor(_WORKERS) as pool:
            for mutant, (dead, output) in zip(chosen, pool.map(check, chosen), strict=True):
                print("dies    " if dead else "SURVIVES", mutant.path, mutant.verdict, flush=True)
                if not dead:
                    print(f"{mutant}\n{output}", flush=True)
                    wrong.append(mutant)
    print(f"{len(chosen) - len(wrong)} of {len(chosen)} that were run; the table: {score(table)}")
    faults = sum(not mutant.is_equivalent for mutant in table)
    killed = sum(mutant.is_killed for mutant in table)
    return int(bool(wrong) or killed < 0.9 * faults)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--one-in", type=int, default=1)
    sys.exit(main(**vars(parser.parse_args())))
