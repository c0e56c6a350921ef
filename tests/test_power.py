"""POWER: read from what people have of it, checked, and split as in the papers."""

import importlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from dgmjax import data
from dgmjax.data import __main__ as command

module = importlib.import_module("dgmjax.data.power")
HEADER = (
    "Date;Time;Global_active_power;Global_reactive_power;Voltage;Global_intensity;"
    "Sub_metering_1;Sub_metering_2;Sub_metering_3"
)
LINES = [
    "16/12/2006;17:24:00;4.216;0.418;234.840;18.400;0.000;1.000;17.000",
    "16/12/2006;17:25:00;?;?;?;?;?;?;",
    "16/12/2006;17:27:00;;;;;;;",
    "16/12/2006;17:28:00;5.374;0.498;233.290;23.000;0.000;2.000;17.000",
    "17/12/2006;00:00:00;1.044;0.152;242.730;4.400;0.000;2.000;0.000",
]
ROWS = np.array(
    [
        [4.216, 0.418, 234.84, 18.4, 0.0, 1.0, 17.0, 1044.0],
        [5.374, 0.498, 233.29, 23.0, 0.0, 2.0, 17.0, 1048.0],
        [1.044, 0.152, 242.73, 4.4, 0.0, 2.0, 0.0, 0.0],
    ]
)


@pytest.fixture(autouse=True)
def _three_rows(monkeypatch):
    monkeypatch.setattr(module, "_ROWS", (3,))


def text_file(folder, lines=LINES):
    path = folder / "household_power_consumption.txt"
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def archive(folder):
    path = folder / "power.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.write(text_file(folder), "household_power_consumption.txt")
    return path


def integers(folder):
    path = folder / "mine.npz"
    scale = np.array([1000, 1000, 100, 10, 1, 1, 1, 1])
    np.savez(path, table=np.round(ROWS * scale).astype(np.int16), scale=scale)
    return path


@pytest.mark.parametrize("make", [text_file, archive, integers])
def test_minutes_without_a_measurement_are_left_out(make, tmp_path):
    path = data.prepare_power(source=make(tmp_path), data_dir=tmp_path / "out")
    with np.load(path) as arrays:
        np.testing.assert_allclose(arrays["table"] / arrays["scale"], ROWS, atol=1e-9)
    assert list(path.parent.iterdir()) == [path], "nothing partial"
    assert data.prepare_power(source="nowhere", data_dir=tmp_path / "out") == path, "done already"


def test_the_split_is_that_of_the_papers(tmp_path, monkeypatch):
    """Line by line as in their code: shuffle the rows, drop two columns, noise, last tenths, statistics of the rest."""
    monkeypatch.setattr(module, "_ROWS", (200,))
    rng = np.random.RandomState(0)
    table = np.round(
        rng.uniform([0, 0, 220, 0, 0, 0, 0, 0], [9, 1, 250, 40, 50, 50, 30, 1439], (200, 8))
    )
    np.savez(tmp_path / "a.npz", table=table, scale=np.ones(8))
    data.prepare_power(source=tmp_path / "a.npz", data_dir=tmp_path)
    found = data.load_dataset("power", data_dir=tmp_path)

    rng = np.random.RandomState(42)
    x = table.copy()
    rng.shuffle(x)
    x = np.delete(np.delete(x, 3, axis=1), 1, axis=1)
    voltage, active, meters = 0.01 * rng.rand(200, 1), 0.001 * rng.rand(200, 1), rng.rand(200, 3)
    x = x + np.hstack((active, voltage, meters, np.zeros((200, 1))))
    rest, test = x[:-20], x[-20:]
    mean, deviation = rest.mean(0), rest.std(0)
    expected = {"train": rest[:-18], "validation": rest[-18:], "test": test}
    for name, rows in expected.items():
        split = getattr(found, name)
        assert split.dtype == np.float32
        np.testing.assert_allclose(split, (rows - mean) / deviation, atol=1e-6)


def changed(line, **columns):
    values = line.split(";")
    for index, value in columns.items():
        values[int(index[1:])] = value
    return ";".join(values)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (LINES[:-1], r"expected 3 rows of 8 columns, got \(2, 8\); the file is not whole"),
        (
            [*LINES[:-1], changed(LINES[-1], c4="99.0")],
            r"the columns go from \[1.044, 0.152, 99.0, .* expected \[0, 0, 200, 0",
        ),
    ],
)
def test_other_tables_are_refused(lines, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        data.prepare_power(source=text_file(tmp_path, lines), data_dir=tmp_path / "out")
    assert not (tmp_path / "out" / "power" / "power.npz").exists()


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        data.prepare_power(source=tmp_path / "none.zip", data_dir=tmp_path / "out")
    (tmp_path / "a.txt").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="expected the columns Date;Time"):
        data.prepare_power(source=tmp_path / "a.txt", data_dir=tmp_path / "out")
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match="no .npz with arrays 'table' and 'scale'"):
        data.prepare_power(source=tmp_path / "a.npz", data_dir=tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.writestr("other.txt", "")
    with pytest.raises(ValueError, match="no archive that holds household_power_consumption.txt"):
        data.prepare_power(source=tmp_path / "a.zip", data_dir=tmp_path / "out")


def test_a_set_that_is_not_there_says_how_to_get_it(tmp_path):
    with pytest.raises(data.DataNotFound, match=r"python -m dgmjax.data prepare power --data-dir"):
        data.load_dataset("power", data_dir=tmp_path)


def test_the_command_prepares_it(tmp_path, capsys):
    options = ["--data-dir", str(tmp_path / "out"), "--source", str(archive(tmp_path))]
    command.main(["prepare", "power", *options])
    assert capsys.readouterr().out == f"power is ready in {tmp_path / 'out' / 'power'}\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["power", "--manual-dir", "here"], "the file of power is --source"),
        (["mnist", "--source", "here"], "files of mnist lie in --manual-dir"),
        (["power", "--source", "nowhere"], "error: source nowhere does not exist."),
    ],
)
def test_wrong_commands_end_with_one_message(options, message, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "dgmjax.data", "prepare", *options, "--data-dir", str(tmp_path)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
