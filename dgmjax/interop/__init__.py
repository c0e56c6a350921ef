"""Trained models in other people's code: numpyro, samplers such as blackjax's, JAX without this library, tables.

numpyro and pandas are imported by the functions that need them, and not with `dgmjax`. The way to distrax is
`dgmjax.to_distrax`.
"""

from dgmjax.interop.columns import Bounded, Categories, Circular, Integers, Real
from dgmjax.interop.distrax import from_distrax, to_distrax
from dgmjax.interop.export import export
from dgmjax.interop.exported import ExportedDensity, load_exported
from dgmjax.interop.flows_in_numpyro import flow_from_numpyro, numpyro_flow, to_numpyro
from dgmjax.interop.pull_back import pull_back
from dgmjax.interop.table import fit_table
from dgmjax.interop.table_density import TableDensity

__all__ = [
    "Bounded",
    "Categories",
    "Circular",
    "ExportedDensity",
    "Integers",
    "Real",
    "TableDensity",
    "export",
    "fit_table",
    "flow_from_numpyro",
    "from_distrax",
    "load_exported",
    "numpyro_flow",
    "pull_back",
    "to_distrax",
    "to_numpyro",
]
