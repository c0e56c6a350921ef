"""Training steps and sampling of dgmjax against the peers that are installed."""

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np

from experiments.benchmarks import _dgmjax
from experiments.benchmarks._timing import Row, Sizes, race

PEERS = ("flowjax", "zuko", "nflows", "normflows")
_EXTRA = "pip install -e '.[benchmarks]'"


def installed_peers(names: Sequence[str] = PEERS) -> dict[str, ModuleType]:
    """Adapters of the peers in ``names`` that can be imported; one printed line for each that cannot."""
    adapters = {}
    for name in names:
        if importlib.util.find_spec(name) is None:
            print(f"{name}: not installed, skipped; {_EXTRA}", flush=True)
        else:
            adapters[name] = importlib.import_module(f"experiments.benchmarks._{name}")
    return adapters


def coupling_step(sizes: Sizes, peers: dict[str, ModuleType]) -> list[Row]:
    """One Adam step of a RealNVP."""
    x = events(sizes)
    model = _dgmjax.realnvp(sizes)
    systems = [_dgmjax.training_system(model, x), _dgmjax.bare_system(model, x)]
    systems += [peer.training_system(peer.coupling(sizes), x) for peer in peers.values()]
    return race("coupling step", systems, rounds=sizes.rounds, calls=sizes.calls)


def maf_step(sizes: Sizes, peers: dict[str, ModuleType]) -> list[Row]:
    """One Adam step of a MAF."""
    x = events(sizes)
    systems = [_dgmjax.training_system(_dgmjax.maf(sizes), x)]
    systems += [peer.training_system(peer.maf(sizes), x) for peer in peers.values()]
    return race("MAF step", systems, rounds=sizes.rounds, calls=sizes.calls)


def maf_sampling(sizes: Sizes, peers: dict[str, ModuleType]) -> list[Row]:
    """Points drawn from a MAF."""
    systems = [_dgmjax.sampling_system(_dgmjax.maf(sizes), sizes.samples)]
    systems += [peer.sampling_system(peer.maf(sizes), sizes.samples) for peer in peers.values()]
    rounds = max(sizes.rounds // 3, 2)
    return race("MAF sampling", systems, rounds=rounds, calls=max(sizes.calls // 4, 1))


def events(sizes: Sizes) -> np.ndarray:
    """Standard normal events ``[batch, dim]``."""
    x = np.random.RandomState(0).standard_normal((sizes.batch, sizes.dim))
    return x.astype(np.float32)


RACES: dict[str, Callable[[Sizes, dict[str, ModuleType]], list[Row]]] = {
    "coupling-step": coupling_step,
    "maf-step": maf_step,
    "maf-sampling": maf_sampling,
}
