"""The registries: ``OPERATIONS`` has all operations, ``CALCULATIONS`` has everything that can be calculated."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Any

from pycalc.services.operations import functions
from pycalc.services.operations.base import Calculable, Operation
from pycalc.services.operations.expressions.operation import Evaluate
from pycalc.services.operations.factorial.operation import Factorial
from pycalc.services.operations.fibonacci import Fibonacci
from pycalc.services.operations.power.operation import Power

_FILES = sorted(module.name for module in iter_modules(functions.__path__, f"{functions.__name__}."))
_ALL = (Fibonacci(), Factorial(), Power(), *(import_module(name).OPERATION for name in _FILES))

# Every operation by its name.
OPERATIONS: Mapping[str, Operation[Any]] = MappingProxyType({operation.name: operation for operation in _ALL})

# Everything that a request may calculate, by name: the operations, and ``evaluate``, which combines them.
CALCULATIONS: Mapping[str, Calculable[Any]] = MappingProxyType({**OPERATIONS, Evaluate.name: Evaluate(OPERATIONS)})
