"""Computations that go wrong: they are detected, killed or interrupted, and never recorded."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from pathlib import Path

import gmpy2
import httpx
import pytest

from pycalc.resources.wiring import Resources
from pycalc.services.operations.fibonacci import Fibonacci
from pycalc.services.operations.power.operation import Power
from tests.harness.accounts import PASSWORD, new_name, new_person, registration
from tests.harness.processes import children
from tests.harness.servers import Server, pycalc
from tests.harness.waiting import wait_until

# A result of 25 million digits, which takes about three seconds. The test raises the limit on digits for it.
SLOW = "/fibonacci/120000000"


class TestVerification:
    """A wrong result must not leave the service."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    async def headers(self, client: httpx.AsyncClient) -> dict[str, str]:
        """Register an account, log in, and return the header of the session."""
        name = new_name()
        await client.post("/register", json=registration(name))
        session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
        return {"Authorization": f"Bearer {session['access_token']}"}

    async def test_a_wrong_result_is_an_internal_error_and_nothing_else(
        self,
        client: httpx.AsyncClient,
        resources: Resources,
        headers: dict[str, str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A result with one wrong digit gets a 500 without details, and is neither recorded nor cached.

        The metrics count it as a failed verification.
        """
        right = Fibonacci().compute((5_000,), 50)
        wrong = right[:500] + (b"1" if right[500:501] != b"1" else b"2") + right[501:]
        monkeypatch.setattr(Fibonacci, "compute", lambda *_: wrong)
        monkeypatch.setattr("pycalc.services.compute.computer.INLINE_SECONDS", 1.0)
        answer = await client.get("/fibonacci/5000", headers=headers)
        assert (answer.status_code, answer.headers["Content-Type"]) == (500, "application/problem+json")
        assert answer.json()["type"] == "/docs/problems#internal-error"
        assert len(answer.headers["X-Request-ID"]) == 32  # the request id marks its records in the log
        assert "residue" not in answer.text
        value = resources.metrics.registry.get_sample_value
        assert value("pycalc_verification_failures_total") == 1
        assert value("pycalc_calculations_total", {"operation": "fibonacci", "outcome": "failed"}) == 1
        assert value("pycalc_calculations_total", {"operation": "fibonacci", "outcome": "computed"}) == 0
        assert value("pycalc_compute_duration_seconds_count", {"operation": "fibonacci"}) in (None, 0)
        assert value("pycalc_cache_entries") == 0
        assert (await client.get("/secure-history", headers=headers)).json()["items"] == []
        monkeypatch.undo()
        again = (await client.get("/fibonacci/5000", headers=headers)).json()
        assert again["cached"] is False
        assert again["result"].encode() == right

    async def test_a_wrong_residue_is_an_internal_error_too(
        self,
        client: httpx.AsyncClient,
        resources: Resources,
        headers: dict[str, str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A wrong residue of over 1,000 digits is detected: the request gets 500, and nothing is recorded.

        Without the fault, the result equals Python's ``pow``.
        """
        modulus = int("7" * 1_199 + "3")
        right = Power.modulo
        monkeypatch.setattr(Power, "modulo", lambda self, args, m, _=None: right(self, args, m) + (m == modulus))
        monkeypatch.setattr("pycalc.services.compute.computer.INLINE_SECONDS", 1.0)
        path = f"/pow/3/{10**1_000}"
        answer = await client.get(path, headers=headers, params={"mod": str(modulus)})
        assert (answer.status_code, answer.json()["type"]) == (500, "/docs/problems#internal-error")
        assert resources.metrics.registry.get_sample_value("pycalc_verification_failures_total") == 1
        assert (await client.get("/secure-history", headers=headers)).json()["items"] == []
        monkeypatch.undo()
        again = (await client.get(path, headers=headers, params={"mod": str(modulus)})).json()
        assert again["result"] == str(gmpy2.mpz(pow(3, 10**1_000, modulus)))


class TestWorkers:
    """Worker processes that are killed from outside or at their deadline."""

    def test_a_computation_ends_at_its_deadline(self) -> None:
        """A computation that reaches its deadline gets 504 and is not recorded.

        Its worker process ends; a later, cheaper computation succeeds.
        """
        with (
            pycalc(compute_timeout="1", compute_workers="1", max_digits="100000000") as server,
            httpx.Client(base_url=server.url, timeout=30) as client,
        ):
            person = new_person(client)
            made = client.get("/factorial/20000", headers=person.headers).raise_for_status().json()["id"]
            assert len(children(server.pid)) == 1
            answer = client.get(SLOW, headers=person.headers)
            assert (answer.status_code, answer.json()["type"]) == (504, "/docs/problems#computation-timeout")
            wait_until(lambda: children(server.pid) == [], "the worker is gone")
            items = client.get("/secure-history", headers=person.headers).json()["items"]
            assert [item["id"] for item in items] == [made]
            assert client.get("/factorial/20001", headers=person.headers).status_code == 200

    def test_factors_that_are_found_before_the_deadline_are_in_the_problem(self) -> None:
        """A factorization that reaches its deadline gets 504 with the prime factors found so far, with exponents."""
        primes = [int(gmpy2.next_prime(2**bits)) for bits in (30, 300, 301)]
        with (
            pycalc(compute_timeout="2", compute_workers="1") as server,  # the start of a worker does not count
            httpx.Client(base_url=server.url, timeout=60) as client,
        ):
            headers = new_person(client).headers
            expression = f"factorize(360 * {primes[0]} * {primes[1] * primes[2]})"
            for answer in (
                client.get(f"/factorize/{360 * math.prod(primes)}", headers=headers),
                client.post("/evaluate", json={"expression": expression}, headers=headers),
            ):
                assert (answer.status_code, answer.json()["type"]) == (504, "/docs/problems#computation-timeout")
                assert [(each["prime"], each["exponent"]) for each in answer.json()["found"]] == [
                    (2, 3), (3, 2), (5, 1), (primes[0], 1),
                ]  # fmt: skip
            assert client.get("/secure-history", headers=headers).json()["items"] == []

    def test_a_worker_that_dies_is_unavailability_and_the_next_one_works(self, tmp_path: Path) -> None:
        """If a worker is killed, the request gets 503 with Retry-After and is not recorded; a retry succeeds."""
        with (
            pycalc(data=tmp_path, compute_workers="1") as server,
            httpx.Client(base_url=server.url, timeout=60) as client,
        ):
            person = new_person(client)
            client.get("/factorial/20000", headers=person.headers).raise_for_status()
            (worker,) = children(server.pid)
            os.kill(worker, signal.SIGSTOP)  # a stopped worker can't finish
            answer = asyncio.run(_killed_while_asking(server, person.headers, worker))
            assert (answer.status_code, answer.json()["type"]) == (503, "/docs/problems#unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
            again = client.get("/factorial/20001", headers=person.headers)
            assert again.status_code == 200
            items = client.get("/secure-history", headers=person.headers).json()["items"]
            assert [item["input"]["n"] for item in items] == [20_001, 20_000]
            assert "pycalc_compute_workers_lost_total 1.0" in client.get("/metrics").text


async def _killed_while_asking(server: Server, headers: dict[str, str], worker: int) -> httpx.Response:
    """Request a computation, kill its worker during it, and return the answer."""
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        asking = asyncio.create_task(client.get("/factorial/20001", headers=headers))
        while "pycalc_compute_running 1.0" not in (await client.get("/metrics")).text:
            assert not asking.done()
        os.kill(worker, signal.SIGKILL)
        return await asking
