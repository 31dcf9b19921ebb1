"""Every fault."""

import pkgutil
from importlib import import_module

from tests.contract import faults
from tests.contract.faults.fault import Fault

_MODULES = [
    import_module(f"{__package__}.{module.name}")
    for module in pkgutil.iter_modules(faults.__path__)
    if f"{__package__}.{module.name}" not in (__name__, Fault.__module__)
]

FAULTS: tuple[Fault, ...] = tuple(fault for module in _MODULES for fault in module.FAULTS)
