"""The Python client on a faulty network: cuts, refusals, expired tokens, many threads."""

from __future__ import annotations

import ast
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pycalc_client
import pytest
from pycalc_client import (
    Client,
    ConnectionFailed,
    DigestMismatch,
    Overloaded,
    RateLimited,
    Unauthorized,
)
from pycalc_client._sync.tokens import Tokens

from tests.clients.conftest import QUICK
from tests.clients.test_client import LONG, LONG_DIGITS, fibonacci_modulo
from tests.harness.accounts import PASSWORD
from tests.harness.faulty import Fault, FaultyProxy, refusal
from tests.harness.servers import Server

PROBLEM = "Content-Type: application/problem+json"
BUSY = refusal(
    "503 Service Unavailable", PROBLEM, "Retry-After: 0", body='{"type": "/docs/problems#overloaded", "status": 503}'
)
LIMITED = refusal(
    "429 Too Many Requests", PROBLEM, "Retry-After: 0", body='{"type": "/docs/problems#rate-limited", "status": 429}'
)
UNAUTHORIZED = refusal("401 Unauthorized", PROBLEM, body='{"type": "/docs/problems#unauthorized", "status": 401}')
HOURS = refusal(
    "429 Too Many Requests", PROBLEM, "Retry-After: 7200", body='{"type": "/docs/problems#rate-limited", "status": 429}'
)


def test_refusals_that_pass_are_waited_for(faulty: Client, proxy: FaultyProxy) -> None:
    """503, 429, and a proxy's 502 are retried with the same Idempotency-Key until the service answers."""
    bad_gateway = refusal("502 Bad Gateway")
    proxy.faults = [Fault("/calculations", answer) for answer in (BUSY, LIMITED, bad_gateway)]
    assert faulty.fibonacci(100).result == 354224848179261915075
    assert len({fields["idempotency-key"] for fields in proxy.headers_of("/calculations")}) == 1
    assert len(proxy.headers_of("/calculations")) == 4


def test_attempts_are_bounded(faulty: Client, proxy: FaultyProxy) -> None:
    """After as many attempts as the policy allows, the last refusal is raised."""
    proxy.faults = [Fault("/calculations", BUSY)] * 9
    with pytest.raises(Overloaded):
        faulty.fibonacci(100)
    assert len(proxy.headers_of("/calculations")) == QUICK.attempts


def test_a_wait_beyond_the_deadline_is_not_waited_for(faulty: Client, proxy: FaultyProxy) -> None:
    """If Retry-After exceeds the deadline, the refusal is raised at once, with the Retry-After in ``retry_after``."""
    proxy.faults = [Fault("/calculations", HOURS)]
    with pytest.raises(RateLimited) as limited:
        faulty.fibonacci(100)
    assert limited.value.retry_after == 7200
    assert len(proxy.headers_of("/calculations")) == 1


def test_a_lost_answer_makes_no_second_calculation(faulty: Client, proxy: FaultyProxy) -> None:
    """If the answer is cut before or in its body, the request is retried; the history has each calculation once."""
    proxy.faults = [Fault("/calculations", cut=-1), Fault("/evaluate", cut=20), Fault("/batch", cut=-1)]
    first = faulty.fibonacci(100)
    second = faulty.evaluate("2 + 2")
    [third] = faulty.batch([{"operation": "gcd", "input": {"a": 4, "b": 6}}])
    assert [item.operation for item in faulty.history()] == ["gcd", "evaluate", "fibonacci"]
    assert ([first.result, second.result], third.__class__.__name__) == ([354224848179261915075, 4], "Calculation")
    assert [len(proxy.headers_of(path)) for path in ("/calculations", "/evaluate", "/batch")] == [2, 2, 2]


def test_a_download_goes_on_after_cuts(faulty: Client, proxy: FaultyProxy, tmp_path: Path) -> None:
    """If the connection is cut, a download continues where it stopped, by Range and If-Range; no digit is missing."""
    calculation = faulty.fibonacci(LONG)
    path = f"/calculations/{calculation.id}/digits"
    proxy.faults = [Fault(path, cut=400_000), Fault(path, cut=300_000), Fault(path, BUSY), Fault(path, cut=-1)]
    digits = calculation.save(tmp_path / "f.txt").read_text()
    asked = proxy.headers_of(path)
    assert [fields.get("range") for fields in asked] == [None, "bytes=400000-", *["bytes=700000-"] * 3]
    assert {fields.get("if-range") for fields in asked[1:]} != {None}
    assert (len(digits), int(digits[-10:])) == (LONG_DIGITS, fibonacci_modulo(LONG, 10**10))


def test_a_whole_answer_to_a_range_is_understood(faulty: Client, proxy: FaultyProxy) -> None:
    """If a proxy ignores the Range header and sends all digits again, the bytes received earlier are skipped."""
    calculation = faulty.fibonacci(6_000)
    recorded = faulty.calculation(calculation.id)  # more than 1,000 digits, so that they are downloaded
    path = f"/calculations/{calculation.id}/digits"
    whole = refusal("200 OK", "Content-Type: text/plain", body=calculation.text)
    proxy.faults = [Fault(path, cut=500), Fault(path, whole)]
    assert recorded.text == calculation.text


def test_a_download_goes_on_after_a_crash(faulty: Client, proxy: FaultyProxy, tmp_path: Path) -> None:
    """After a failed download, the next download of the same calculation continues the partial file."""
    calculation = faulty.fibonacci(LONG)
    path = f"/calculations/{calculation.id}/digits"
    proxy.faults = [Fault(path, cut=400_000)] + [Fault(path, cut=-1)] * QUICK.attempts
    with pytest.raises(ConnectionFailed):
        calculation.save(tmp_path / "f.txt")
    assert [file.stat().st_size for file in tmp_path.iterdir()] == [400_000]
    proxy.faults = []
    digits = calculation.save(tmp_path / "f.txt").read_text()
    assert (len(digits), int(digits[-10:])) == (LONG_DIGITS, fibonacci_modulo(LONG, 10**10))
    assert proxy.headers_of(path)[-1]["range"] == "bytes=399999-"
    assert [file.name for file in tmp_path.iterdir()] == ["f.txt"]


def test_wrong_digits_are_noticed(faulty: Client, proxy: FaultyProxy, tmp_path: Path) -> None:
    """If downloaded digits do not match the result's digest, DigestMismatch is raised, and no file is left."""
    calculation = faulty.calculation(faulty.fibonacci(6_000).id)
    wrong = refusal("200 OK", "Content-Type: text/plain", body="7" * calculation.digits)
    proxy.faults = [Fault(f"/calculations/{calculation.id}/digits", wrong)] * 2
    with pytest.raises(DigestMismatch):
        calculation.save(tmp_path / "f.txt")
    assert [*tmp_path.iterdir()] == []
    with pytest.raises(DigestMismatch):
        _ = calculation.result


def test_ten_threads_renew_an_expired_token_once(faulty: Client, proxy: FaultyProxy) -> None:
    """If the service refuses a token that the client considers valid, ten threads cause one refresh and no login."""
    faulty.fibonacci(1)
    _tokens(faulty)._access = "expired"
    with ThreadPoolExecutor(10) as threads:
        results = [each.result for each in threads.map(faulty.fibonacci, range(10))]
    assert results == [0, 1, 1, 2, 3, 5, 8, 13, 21, 34]
    assert (len(proxy.headers_of("/token/refresh")), len(proxy.headers_of("/login"))) == (1, 1)


def test_a_token_is_renewed_before_it_expires(faulty: Client, proxy: FaultyProxy) -> None:
    """A token that is close to its expiry is refreshed before the next request."""
    faulty.fibonacci(1)
    _tokens(faulty)._renew_at = 0.0
    faulty.fibonacci(2)
    assert [path for _, path, _ in proxy.requests] == ["/login", "/calculations", "/token/refresh", "/calculations"]


@pytest.mark.parametrize("years", [-20, 20])
def test_a_wrong_clock_does_not_matter(
    faulty: Client, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch, years: int
) -> None:
    """A client whose clock is wrong by years logs in once, uses its token, and refreshes it only after a refusal."""
    shift, true_time = years * 365 * 86_400, time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + shift)
    monkeypatch.setattr(time, "time_ns", lambda: int((true_time() + shift) * 1e9))
    proxy.faults = [Fault("/calculations", LIMITED)]
    assert [faulty.fibonacci(n).result for n in (90, 91)] == [2880067194370816120, 4660046610375530309]
    assert [path for _, path, _ in proxy.requests] == ["/login", *["/calculations"] * 3]
    _tokens(faulty)._access = "expired"
    assert faulty.fibonacci(92).result == 7540113804746346429
    assert (len(proxy.headers_of("/token/refresh")), len(proxy.headers_of("/login"))) == (1, 1)


def test_the_client_never_reads_the_clock() -> None:
    """The client's code calls no function named ``now``, ``utcnow``, ``today``, ``time`` or ``time_ns``."""
    files = [*Path(pycalc_client.__file__).parent.rglob("*.py")]
    assert len(files) > 10
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                function = getattr(node.func, "attr", getattr(node.func, "id", ""))
                assert function not in ("now", "utcnow", "today", "time", "time_ns"), (file, node.lineno)


@pytest.mark.parametrize("fault", [Fault("/token/refresh", cut=-1), Fault("/token/refresh", UNAUTHORIZED)])
def test_a_refresh_that_fails_ends_in_a_new_session(faulty: Client, proxy: FaultyProxy, fault: Fault) -> None:
    """If the answer to a refresh is lost, or the session has ended, the client logs in again."""
    faulty.fibonacci(1)
    _tokens(faulty)._access = "expired"
    proxy.faults = [fault]
    assert faulty.fibonacci(90).result == 2880067194370816120
    assert (len(proxy.headers_of("/token/refresh")), len(proxy.headers_of("/login"))) == (1, 2)


def test_a_refresh_that_is_refused_for_a_while_is_repeated(faulty: Client, proxy: FaultyProxy) -> None:
    """If the service is too busy to refresh a token, the client sends the refresh again and does not log in anew."""
    faulty.fibonacci(1)
    _tokens(faulty)._access = "expired"
    proxy.faults = [Fault("/token/refresh", BUSY)]
    assert faulty.fibonacci(90).result == 2880067194370816120
    assert (len(proxy.headers_of("/token/refresh")), len(proxy.headers_of("/login"))) == (2, 1)


def test_a_closed_client_has_logged_out(server: Server, username: str) -> None:
    """Closing the client ends the session that a password opened."""
    with Client(server.url, username=username, password=PASSWORD) as calc:
        token = _tokens(calc).current()
    with Client(server.url, api_key=token) as late, pytest.raises(Unauthorized):
        late.usage()


def test_a_client_that_was_idle_logs_out_too(server: Server, proxy: FaultyProxy, username: str) -> None:
    """If the access token has expired, closing the client renews it once and ends the session."""
    with Client(proxy.url, username=username, password=PASSWORD) as calc:
        refresh = _tokens(calc)
        refresh.current()
        refresh._access = "expired"
    assert [path for _, path, _ in proxy.requests] == ["/login", "/logout", "/token/refresh", "/logout"]
    assert refresh._refresh is not None
    renewal = httpx.post(f"{server.url}/token/refresh", json={"refresh_token": refresh._refresh})
    assert renewal.status_code == 401


def test_events_go_on_without_a_gap(faulty: Client, calc: Client, proxy: FaultyProxy) -> None:
    """After the stream is cut, the events recorded in the meantime arrive, each once."""
    events = faulty.events(last_event_id=calc.fibonacci(1).id)
    expected = [calc.fibonacci(n).id for n in range(2, 5)]
    proxy.faults = [Fault("/events", cut=900), Fault("/events", BUSY), Fault("/events", cut=-1)]
    received = [next(events) for _ in range(3)]
    assert [event.id for event in received] == expected
    assert [event.calculation.result for event in received] == [1, 2, 3]
    assert len(proxy.headers_of("/events")) > 1
    events.close()


def _tokens(client: Client) -> Tokens:
    tokens = client._session._tokens
    assert tokens is not None
    return tokens
