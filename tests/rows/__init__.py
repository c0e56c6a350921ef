"""The whole table of constructors: the base rows and one file a family of layers."""

import importlib
import pkgutil

from tests.instances import BIJECTORS as _BASE
from tests.instances import Instance

BIJECTORS: dict[str, Instance] = dict(_BASE)
for _module in pkgutil.iter_modules(__path__):
    BIJECTORS |= importlib.import_module(f"tests.rows.{_module.name}").ROWS
