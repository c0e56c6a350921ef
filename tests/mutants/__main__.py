"""Plants the mutants of the table one at a time and runs the test that should fail.

`python -m tests.mutants [WORDS...]` takes those whose path or test contains one of the words; all without words. It ends
with 1 where a mutant does not do what the table says, or where fewer than nine tenths die.
"""

import concurrent.futures
import os
import pathlib
import queue
import shutil
import subprocess
import sys
import tempfile

from tests.mutants.table import ROOT, Mutant, mutants, score

_COPIED = ("dgmjax", "experiments", "tests", "docs", ".ci")
_SECONDS = 600
# What pytest ends with where a test failed, or a module could not be imported.
_FAILED = (1, 2)


def _copy(folder: pathlib.Path) -> pathlib.Path:
    for name in _COPIED:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    return folder


def _run(test: str, copy: pathlib.Path, cache: pathlib.Path) -> tuple[int, str]:
    """Exit status of pytest, None when it ran too long, and the end of its output."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    settings = {
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        # Of the programs of a test only those with the fault in them are compiled anew.
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }
    done = subprocess.run(
        [*command, "-m", "not slow", test],
        cwd=copy,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout[-2_000:] + done.stderr[-500:]


def dies(mutant: Mutant, copy: pathlib.Path, cache: pathlib.Path) -> tuple[bool, str]:
    """Whether the test of the mutant fails in ``copy`` with the fault planted, and what pytest wrote."""
    path = copy / mutant.path
    source = path.read_text()
    if source.count(mutant.before) != 1:
        return False, f"its lines occur {source.count(mutant.before)} times in {mutant.path}"
    path.write_text(source.replace(mutant.before, mutant.after))
    try:
        status, output = _run(mutant.verdict, copy, cache)
    except subprocess.TimeoutExpired:
        return True, "the test never ended"
    finally:
        path.write_text(source)
    return status in _FAILED, output


def main(words: list[str]) -> int:
    """Runs the mutants, two at a time; the exit status."""
    table = mutants()
    chosen = [
        mutant
        for mutant in table
        if mutant.is_killed
        and (not words or any(word in mutant.path + mutant.verdict for word in words))
    ]
    copies: queue.Queue[pathlib.Path] = queue.Queue()
    wrong = []
    with tempfile.TemporaryDirectory() as name:
        workers = int(os.environ.get("WORKERS", "2"))
        for worker in range(workers):
            copies.put(_copy(pathlib.Path(name) / str(worker)))

        def check(mutant: Mutant) -> tuple[bool, str]:
            copy = copies.get()
            try:
                return dies(mutant, copy, pathlib.Path(name) / "cache")
            finally:
                copies.put(copy)

        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
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
    sys.exit(main(sys.argv[1:]))
