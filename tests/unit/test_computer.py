"""The computer of results, apart from what it computes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pycalc.observability.metrics import Metrics
from pycalc.services.compute.computer import Computer


def test_without_proc_the_service_does_not_start(tmp_path: Path) -> None:
    """It says what is missing at start, instead of failing each long computation with a 500."""
    with pytest.raises(OSError, match=rf"hand results over through {tmp_path}, which is not mounted"):
        Computer(Metrics(), workers=1, timeout=30, memory=1 << 30, proc=tmp_path)
