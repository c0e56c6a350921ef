"""The README's Python, run as printed, in order, as one newcomer's session; its names, commands and options exist."""

import ast
import functools
import importlib
import inspect
import os
import pathlib
import re
import shlex
import subprocess
import sys

import jax
import numpy as np
import pytest
import tyro

import dgmjax as dgm
from experiments.configs import load_config

README = pathlib.Path(__file__).parents[1] / "README.md"
PAGES = [README, *sorted(README.parent.glob("docs/*.md"))]
NAMES = [str(page.relative_to(README.parent)) for page in PAGES]


def blocks_of(page, language=""):
    """The fenced blocks of a page, without what the fence is indented by."""
    found = re.findall(
        rf"^( *)```{language}\n(.*?)^ *```$", page.read_text(), re.DOTALL | re.MULTILINE
    )
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


# The blocks of this page are signatures.
PYTHON = [page for page in PAGES if page.name != "architecture.md"]


@pytest.mark.parametrize("page", PYTHON, ids=lambda page: page.name)
def test_blocks_are_python_whose_names_of_the_library_exist(page):
    """Every ``dgm.a.b`` is an attribute; every keyword of a constructor or function of it is one that it takes."""
    for block in blocks_of(page, "python"):
        for node in ast.walk(ast.parse(block)):
            name = dotted(node)
            if name and name.startswith(("dgm.", "dgmjax.")):
                resolved(name)
            if isinstance(node, ast.Call) and (dotted(node.func) or "").startswith("dgm."):
                check_keywords(node)


def dotted(node):
    """``a.b.c`` of a chain of attributes; None of anything else."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *parts[::-1]]) if isinstance(node, ast.Name) and parts else None


def resolved(name):
    return functools.reduce(getattr, name.split(".")[1:], dgm)


def check_keywords(call):
    parameters = inspect.signature(resolved(dotted(call.func))).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    unknown = {keyword.arg for keyword in call.keywords} - {None, *parameters}
    assert not unknown, f"{dotted(call.func)} takes no {unknown}"


def commands_of(page):
    """Commands ``python -m experiments...`` of the blocks of a page, as words, without what the shell adds."""
    for block in blocks_of(page, "(?:bash|sh|console)?"):
        for line in block.replace("\\\n", " ").splitlines():
            # What stands behind the set-up of an environment is a command, too.
            line = line.rpartition(" && ")[2] if line.startswith("python3 -m venv") else line
            found = re.match(r"\$? ?(?:\w+=\S+ )*python -m (experiments\.\S+) ?(.*)", line)
            if found:
                rest = re.split(
                    r" [&|>] ?| &&|;", found[2].partition("  #")[0].partition(" # ")[0]
                )[0]
                yield found[1], shlex.split(rest)


PLACEHOLDER = re.compile(r"[<>{}\[\]]|\.\.\.|^[A-Z_]+$")
COMMANDS = {
    f"{name}: {module} {' '.join(words)}": (module, words)
    for name, page in zip(NAMES, PAGES, strict=True)
    for module, words in commands_of(page)
    if not any(PLACEHOLDER.search(word) for word in words)
}


def test_commands_are_found():
    assert sum(name.startswith("README.md") for name in COMMANDS) >= 6


@pytest.mark.parametrize("command", COMMANDS)
def test_options_of_commands_are_those_of_their_parsers(command, monkeypatch):
    """The parser takes them; what it would start is not started."""
    name, words = COMMANDS[command]
    module = importlib.import_module(name)
    if hasattr(module, "__path__"):
        module = importlib.import_module(f"{name}.__main__")

    class Parsed(Exception):
        pass

    cli = tyro.cli

    def parse(*arguments, **options):
        raise Parsed(cli(*arguments, **options))

    monkeypatch.setattr(tyro, "cli", parse)
    if not hasattr(module, "main"):
        cli(module.Options, args=words)
        return
    with pytest.raises(Parsed):
        module.main(words)


@pytest.mark.usefixtures("x32")
def test_the_first_layer_of_the_readme_passes_the_laws():
    """Its cheapest block, the last one, on points of the first."""
    *_, last = blocks_of(README, "python")
    names = {"dgm": dgm, "jax": jax, "x_test": np.zeros((9, 2), np.float32)}
    exec(compile(last, "README.md", "exec"), names)
    broken = compile(last.replace("2 * 0.6931472)", "0.6931472)", 1), "README.md", "exec")
    with pytest.raises(dgm.testing.LawViolation):
        exec(broken, names)


def test_commands_of_the_readme_train_configs_that_exist():
    runs = [words for module, words in COMMANDS.values() if module == "experiments.train"]
    assert ["realnvp_digits"] in runs
    for name in re.findall(r"experiments/configs/(\w+)\.py", README.read_text()):
        assert importlib.import_module(f"experiments.configs.{name}").__doc__
    assert load_config("maf_spirals").name == "maf_spirals"


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(blocks) >= 3
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "importance-weighted bound, K=16 (uniform dequantization)" in done.stdout


@pytest.mark.slow
def test_the_python_of_the_page_on_extending_runs(tmp_path):
    """In a process of its own: it adds names to the library's tables."""
    page = (README.parent / "docs" / "extending.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*blocks, CHECKS])],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(README.parent)},  # for experiments
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.endswith("as the page says\n")


# What the page says in words about the objects that its blocks leave.
CHECKS = """
assert jnp.allclose(trained.location[...], 3.0, atol=0.05)
assert jnp.allclose(jnp.exp(trained.log_scale[...]), 0.5, atol=0.05)
assert isinstance(dgm.load("gumbel"), Gumbel)
assert dgm.load("runs/vector_glow_two_moons/model").event_shape == (2,)
assert result["test"]["bound"] == "exact"
likelihood = dgm.log_likelihood(vae, dataset.test, seed=jax.random.key(7), num_samples=64)
assert 2.079 - 3 * likelihood.standard_error < likelihood.negative_log_likelihood < 3.5
print("as the page says")
"""
