"""Call a running service through the client that openapi-python-client generates (see __main__.py)."""

from __future__ import annotations

import sys
from typing import TypeVar

from pycalc_api import AuthenticatedClient, Client
from pycalc_api.api.accounts import log_in, register
from pycalc_api.api.calculations import calculate, calculate_batch, fibonacci, get_calculation, pow_
from pycalc_api.api.history import list_history
from pycalc_api.models import (
    Batch,
    BatchResults,
    Calculation,
    CalculationRequest,
    Credentials,
    HistoryItem,
    HistoryPage,
    Problem,
    Registration,
    Session,
    Summary,
)
from pycalc_api.models.fibonacci_view import FibonacciView

T = TypeVar("T")
PASSWORD = "correct horse battery staple"  # noqa: S105  # of an account that lives for a second


def expect(kind: type[T], answer: object) -> T:
    """Return the answer if its type is ``kind``; raises TypeError for another type."""
    if not isinstance(answer, kind):
        raise TypeError(f"expected {kind.__name__}, got {answer!r}")
    return answer


def main(url: str) -> None:
    """Register, log in, calculate, and read the history."""
    public = Client(base_url=url)
    account = Registration(username="python", email="python@example.com", password=PASSWORD)
    if register.sync(client=public, body=account) is None:
        raise TypeError("the account was not made")
    session = expect(Session, log_in.sync(client=public, body=Credentials(username="python", password=PASSWORD)))
    client = AuthenticatedClient(base_url=url, token=session.access_token)
    results = [
        expect(Calculation, fibonacci.sync(n="47", client=client)).result,
        expect(Calculation, pow_.sync(x="2", y="0.5", client=client)).exact,
        expect(Summary, fibonacci.sync(n="1" + "0" * 18, client=client, view=FibonacciView.SUMMARY)).digits,
        expect(Problem, fibonacci.sync(n="-1", client=client)).status,
    ]
    batch = Batch.from_dict(
        {
            "operations": [
                {"operation": "pow", "input": {"x": "2", "y": "-1"}},
                {"operation": "pow", "input": {"x": "0", "y": "-1"}},
            ]
        }
    )
    half, problem = expect(BatchResults, calculate_batch.sync(client=client, body=batch)).results
    results += [expect(Calculation, half).result, expect(Problem, problem).status]
    body = CalculationRequest.from_dict({"operation": "fibonacci", "input": {"n": 90}})
    made = expect(Calculation, calculate.sync(client=client, body=body))
    results += [made.result, expect(HistoryItem, get_calculation.sync(made.id, client=client)).result]
    page = expect(HistoryPage, list_history.sync(client=client))
    results += [len(page.items), page.items[-1].created_at.utcoffset().total_seconds()]
    expected = [2971215073, False, "208987640249978734", 422, "0.5", 422, *["2880067194370816120"] * 2, 5, 0.0]
    if results != expected:
        raise ValueError(f"expected {expected}, got {results}")


main(sys.argv[1])
