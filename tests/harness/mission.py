"""The service's three main operations: fibonacci, factorial and pow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pycalc.services.operations import OPERATIONS

THREE: Mapping[str, Any] = {name: OPERATIONS[name] for name in ("fibonacci", "factorial", "pow")}
