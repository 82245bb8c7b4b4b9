"""The service's three main operations: fibonacci, factorial and pow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pycalc.services.operations import OPERATIONS
from pycalc.services.operations.base import Modular, Summarisable


class MainOperation(Modular[Any], Summarisable[Any]):
    """The type of the main operations, each of which has residues and summaries."""


THREE: Mapping[str, MainOperation] = {
    name: cast("MainOperation", OPERATIONS[name]) for name in ("fibonacci", "factorial", "pow")
}
