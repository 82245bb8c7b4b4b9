"""The tools' backend without a server: which earlier results the tool ``digits`` can read."""

from __future__ import annotations

import pytest

from pycalc.errors import NotFound
from pycalc.mcp.local import LocalBackend
from pycalc.models.results import Facts
from pycalc.observability.metrics import Metrics
from pycalc.services.calculations.planning import DEFAULT_OPTIONS, Request
from pycalc.services.compute.computer import Computer
from pycalc.services.limits.quotas import compute_quota

pytestmark = pytest.mark.anyio

ZERO = Facts("0", "1", True, "0", "0", bytes(32))
SEVEN: Request = ("fibonacci", ("7",), DEFAULT_OPTIONS)


class Echo(Computer):
    """A computer whose every result has ``length`` characters and takes no time."""

    length = 1

    async def compute(self, *_: object) -> tuple[bytes, Facts]:
        """Return zeros, and the facts of 0."""
        return bytes(self.length), ZERO


@pytest.fixture
async def computer() -> Echo:
    """Return a computer that computes nothing."""
    metrics = Metrics()
    return Echo(metrics, workers=1, timeout=30.0, worker_memory=1 << 30, quota=compute_quota(metrics))


async def test_an_id_may_be_written_in_upper_case(computer: Echo) -> None:
    """The digits of a result are found by its id in lower or upper case, as on a server."""
    backend = LocalBackend(computer, 2_000)
    found = await backend.calculate(SEVEN, 100)
    assert found.id != found.id.upper()
    assert [(await backend.digits(text, 0, 5)).total for text in (found.id, found.id.upper())] == [1, 1]


@pytest.mark.parametrize(("length", "kept"), [(1, 1_000), (16 << 20, 4), (65 << 20, 1)], ids=["short", "long", "last"])
async def test_results_are_kept_up_to_a_number_and_a_size(computer: Echo, length: int, kept: int) -> None:
    """The latest 1,000 results are kept, or as many as have at most 64 MiB together, and the last one in any case."""
    backend, computer.length = LocalBackend(computer, 2_000), length
    ids = [(await backend.calculate(SEVEN, 0)).id for _ in range(kept + 2)]
    found = []
    for identity in ids:
        try:
            found.append((await backend.digits(identity, 0, 1)).total)
        except NotFound:
            found.append(0)
    assert found == [0, 0] + [length] * kept
