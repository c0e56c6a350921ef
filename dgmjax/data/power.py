"""POWER, the table of the papers on flows: six measurements of one household, a row a minute for four years."""

import io
import os
import pathlib
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterable

import numpy as np

from dgmjax.data.dataset import Dataset
from dgmjax.data.tfds.prepared import DataNotFound, data_root

URL = "https://archive.ics.uci.edu/static/public/235/individual+household+electric+power+consumption.zip"
_MEMBER = "household_power_consumption.txt"
_COLUMNS = (
    "Global_active_power", "Global_reactive_power", "Voltage", "Global_intensity", "Sub_metering_1", "Sub_metering_2",
    "Sub_metering_3",
)  # fmt: skip
# What the meter printed, times these, are integers; the last column is the minute of the day.
_SCALE = np.array([1000, 1000, 100, 10, 1, 1, 1, 1])
_LOWEST = np.array([0, 0, 200, 0, 0, 0, 0, 0])
_HIGHEST = np.array([20, 5, 270, 100, 100, 100, 50, 1439])
# Of the archive of UCI; of the copy in the package EnergyData, which lacks 22 rows.
_ROWS = (2_049_280, 2_049_258)
# Noise is spread over one step of the meter.
_STEPS = np.array([0.001, 0.01, 1.0, 1.0, 1.0, 0.0])


def power(*, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """POWER with the preparation of the papers: 1.66 million rows of 6 standardized columns for training.

    Rows are shuffled, reactive power and intensity dropped, uniform noise of the width of a step of the meter added to
    all columns but the minute of the day. The last tenth is test, the last tenth of the rest validation. Means and
    standard deviations are those of train and validation together. All of it follows from one fixed seed.

    Args:
      data_dir: where prepared sets lie; default ``$TFDS_DATA_DIR``, else ``~/tensorflow_datasets``.

    Raises:
      DataNotFound: the set is not prepared, see `prepare_power`.

    Source: Papamakarios et al., 2017, arXiv:1705.07057, appendix D.1, and their code (``datasets/power.py``).
    """
    path = _path(data_dir)
    if not path.is_file():
        raise DataNotFound(
            f"data set 'power' is not prepared: {path} is missing. Run\n"
            f"  python -m dgmjax.data prepare power --data-dir {data_root(data_dir)}\n"
            f"which downloads it from UCI (20 MB); with --source FILE it takes the archive from a file."
        )
    train, validation, test = _split_as_in_the_papers(_read_npz(path))
    return Dataset("power", train, validation, test)


def prepare_power(
    *,
    source: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    timeout: float = 15.0,
) -> pathlib.Path:
    """Write ``DATA_DIR/power/power.npz``, from which `power` makes the data set; does nothing if it is there.

    Args:
      source: the archive of UCI, the text file inside of it, or an ``.npz`` with the integers ``table`` and their
        ``scale``; default: download the archive.
      data_dir: where prepared sets lie; default ``$TFDS_DATA_DIR``, else ``~/tensorflow_datasets``.
      timeout: seconds that the host may be silent before giving up.

    Returns:
      The file.

    Raises:
      FileNotFoundError: ``source`` does not exist.
      ValueError: it is another file, or not whole.
      ConnectionError: the download failed.

    Source: Hebrail and Berard, 2012, *Individual household electric power consumption*, UCI, CC BY 4.0.
    """
    path = _path(data_dir)
    if path.is_file():
        return path
    if source is None:
        table = _read_zip(io.BytesIO(_downloaded(timeout)), URL)
    else:
        table = _read(pathlib.Path(source).expanduser())
    _check(table, URL if source is None else str(source))
    integers = np.round(table * _SCALE).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    partial = pathlib.Path(temporary)
    try:
        with os.fdopen(handle, "wb") as out:
            np.savez_compressed(out, table=np.asfortranarray(integers), scale=_SCALE)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _path(data_dir: str | os.PathLike[str] | None) -> pathlib.Path:
    return data_root(data_dir) / "power" / "power.npz"


def _downloaded(timeout: float) -> bytes:
    print(f"downloading {URL}", flush=True)
    try:
        with urllib.request.urlopen(URL, timeout=timeout) as response:
            return bytes(response.read())
    except OSError as error:
        raise ConnectionError(
            f"could not download {URL} ({getattr(error, 'reason', None) or error}). Get it by other means and pass "
            f"--source FILE."
        ) from error


def _read(path: pathlib.Path) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(f"source {path} does not exist.")
    if path.suffix == ".npz":
        return _read_npz(path)
    if zipfile.is_zipfile(path):
        with path.open("rb") as file:
            return _read_zip(file, str(path))
    with path.open() as lines:
        return _parse(lines, str(path))


def _read_npz(path: pathlib.Path) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return np.asarray(arrays["table"] / arrays["scale"])
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is no .npz with arrays 'table' and 'scale' ({error}); delete it and prepare power again."
        ) from None


def _read_zip(file: io.BufferedIOBase, where: str) -> np.ndarray:
    try:
        with zipfile.ZipFile(file) as archive, archive.open(_MEMBER) as member:
            return _parse(io.TextIOWrapper(member), where)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{where} is no archive that holds {_MEMBER} ({error}).") from None


def _parse(lines: Iterable[str], where: str) -> np.ndarray:
    """``[n, 8]``, without the minutes that were not measured."""
    rows = iter(lines)
    header = next(rows, "").strip().split(";")
    if header != ["Date", "Time", *_COLUMNS]:
        raise ValueError(
            f"{where}: expected the columns Date;Time;{';'.join(_COLUMNS)}, got {';'.join(header)[:200]}."
        )
    measured = [line for line in rows if "?" not in line and ";;" not in line]
    values = np.loadtxt(measured, delimiter=";", usecols=range(2, 9), ndmin=2)
    clock = [line.split(";", 2)[1] for line in measured]
    minutes = np.array([60 * int(time[:2]) + int(time[3:5]) for time in clock], np.float64)
    return np.concatenate([values, minutes[:, None]], axis=1)


def _check(table: np.ndarray, where: str) -> None:
    if table.ndim != 2 or table.shape[1] != len(_SCALE) or len(table) not in _ROWS:
        raise ValueError(
            f"{where}: expected {' or '.join(f'{rows:,}' for rows in _ROWS)} rows of {len(_SCALE)} columns, got "
            f"{table.shape}; the file is not whole, or another."
        )
    if not ((table >= _LOWEST) & (table <= _HIGHEST)).all():
        low, high = table.min(0).tolist(), table.max(0).tolist()
        raise ValueError(
            f"{where}: the columns go from {low} to {high}, expected {_LOWEST.tolist()} to {_HIGHEST.tolist()}."
        )


def _split_as_in_the_papers(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Train, validation and test, float32, in the order of their random numbers: shuffle, voltage, power, meters."""
    rng = np.random.RandomState(42)
    x = table[rng.permutation(len(table))][:, [0, 2, 4, 5, 6, 7]]
    rows = len(x)
    voltage, active, meters = rng.rand(rows, 1), rng.rand(rows, 1), rng.rand(rows, 3)
    x += _STEPS * np.concatenate([active, voltage, meters, np.zeros((rows, 1))], axis=1)
    held_out = rows // 10
    rest, test = x[:-held_out], x[-held_out:]
    mean, deviation = rest.mean(0), rest.std(0)
    held_out = len(rest) // 10
    parts = rest[:-held_out], rest[-held_out:], test
    train, validation, test = ((part - mean) / deviation for part in parts)
    return train.astype(np.float32), validation.astype(np.float32), test.astype(np.float32)
