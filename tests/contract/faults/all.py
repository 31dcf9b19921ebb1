"""Every fault."""

import pkgutil
from importlib import import_module

from tests.contract import faults
from tests.contract.faults.fault import Fault

FAULTS: tuple[Fault, ...] = tuple(
    fault
    for module in pkgutil.iter_modules(faults.__path__)
    if module.name not in ("all", "fault")
    for fault in import_module(f"{__package__}.{module.name}").FAULTS
)
