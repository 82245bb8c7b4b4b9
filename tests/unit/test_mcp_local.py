"""The tools' backend without a server: which earlier results the tool ``digits`` can read."""

from __future__ import annotations

import pytest

from pycalc.errors import NotFound
from pycalc.mcp.local import LocalBackend
from pycalc.models.results import Facts
from pycalc.observability.metrics import Metrics
from pycalc.services.calculations.planning import DEFAULT_OPTIONS, Options, Request, make_plan
from pycalc.services.compute.computer import Computer
from pycalc.services.compute.plan import Plan
from pycalc.services.limits.quotas import compute_quota

pytestmark = pytest.mark.anyio

ZERO = Facts("0", "1", True, "0", "0", bytes(32))
SEVEN: Request = ("fibonacci", ("7",), DEFAULT_OPTIONS)


class Echo(Computer):
    """A computer whose every result is 0, so that long operands take no time."""

    async def call(self, *_: object) -> Plan:  # type: ignore[override]
        """Return the plan of a short calculation."""
        return make_plan(2_000, *SEVEN)

    async def compute(self, *_: object) -> tuple[bytes, Facts]:
        """Return 0 and its facts."""
        return b"0", ZERO


@pytest.fixture
async def backend() -> LocalBackend:
    """Return a backend whose computer computes nothing."""
    metrics = Metrics()
    computer = Echo(metrics, workers=1, timeout=30.0, worker_memory=1 << 30, quota=compute_quota(metrics))
    return LocalBackend(computer, 2_000)


async def test_an_id_may_be_written_in_upper_case(backend: LocalBackend) -> None:
    """The digits of a result are found by its id in lower or upper case, as on a server."""
    found = await backend.calculate(SEVEN, 100)
    assert found.id != found.id.upper()
    assert [(await backend.digits(text, 0, 5)).text for text in (found.id, found.id.upper())] == ["0", "0"]


@pytest.mark.parametrize(
    ("operation", "lengths", "modulus_length", "kept"),
    [
        ("fibonacci", [1], 0, 1_000),
        ("gcd", [16 << 20, 16 << 20], 0, 2),
        ("fibonacci", [1], 32 << 20, 1),
        ("fibonacci", [65 << 20], 0, 0),
    ],
    ids=["short", "long operands", "long modulus", "too long"],
)
async def test_requests_are_kept_up_to_a_number_and_a_size(
    backend: LocalBackend, operation: str, lengths: list[int], modulus_length: int, kept: int
) -> None:
    """The latest 1,000 requests are kept, or as many as have operands of at most 64 Mi characters together."""
    options = Options(modulus="1" * modulus_length or None)
    request = (operation, tuple("1" * length for length in lengths), options)
    ids = [(await backend.calculate(request, 0)).id for _ in range(kept + 2)]
    found = []
    for identity in ids:
        try:
            found.append((await backend.digits(identity, 0, 1)).text)
        except NotFound:
            found.append("")
    assert found == ["", ""] + ["0"] * kept
