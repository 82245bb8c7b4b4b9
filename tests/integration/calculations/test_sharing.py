"""Shared workers: single flight, fairness between users, and protection from expensive requests."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
import termios
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import gmpy2
import httpx
import pytest

from drills.support.connection import request
from tests.harness.accounts import Person, new_person
from tests.harness.metrics import computed, metric
from tests.harness.processes import children, stopped
from tests.harness.servers import Server, pycalc
from tests.harness.waiting import wait_until

PRIME_26 = int(gmpy2.next_prime(10**25))


@dataclass(frozen=True, slots=True)
class One:
    """A service with one worker process."""

    server: Server
    client: httpx.Client
    person: Person

    def worker(self) -> int:
        """Return the worker's process id; start the worker if necessary."""
        n = 20_000 + int(computed(self.client))  # a new calculation, which no cache has
        self.client.get(f"/factorial/{n}", headers=self.person.headers).raise_for_status()
        (pid,) = children(self.server.pid)
        return pid

    def ask(self, path: str, **fields: str) -> socket.socket:
        """Send a GET with these header fields, and return its connection."""
        connection = socket.create_connection(("127.0.0.1", self.server.port), 30)
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.sendall(request(path, {**self.person.headers, "Connection": "close", **named}))
        return connection

    def running(self) -> float:
        """Return the number of running computations."""
        return metric(self.client, "pycalc_compute_running")

    def gone(self) -> float:
        """Return the number of clients that have disconnected before the end of their response."""
        return metric(self.client, "http_requests_total", status="499")


@pytest.fixture(scope="module")
def one() -> Iterator[One]:
    """Run a service for this module."""
    with pycalc(compute_workers="1") as server, httpx.Client(base_url=server.url, timeout=30) as client:
        yield One(server, client, new_person(client))


def status_of(connection: socket.socket) -> int:
    """Read the whole answer on a connection, so that it is not counted as 499, and return its status."""
    with connection, connection.makefile("rb") as answer:
        return int(answer.read().split(maxsplit=2)[1])


class TestSingleFlight:
    """Simultaneous requests for the same computation."""

    def test_it_is_computed_once_and_recorded_for_each(self, one: One) -> None:
        """Eight requests of two users share one computation, and record eight calculations."""
        person, other = new_person(one.client), new_person(one.client)
        path = "/fibonacci/3000000"
        with ThreadPoolExecutor(8) as threads:
            with stopped(one.worker()):
                before = computed(one.client)
                asking = [
                    threads.submit(httpx.get, one.server.url + path, headers=asker.headers, timeout=30)
                    for asker in [person] * 6 + [other] * 2
                ]
                wait_until(lambda: one.running() == 1, "the computation has begun")
                assert metric(one.client, "pycalc_compute_waiting") == 0
            answers = [future.result() for future in asking]
        assert [answer.status_code for answer in answers] == [200] * 8
        assert {answer.json()["result"] for answer in answers} == {gmpy2.fib(3_000_000).digits()}
        assert computed(one.client) == before + 1
        made = {answer.json()["id"] for answer in answers}
        items = [
            item
            for asker in (person, other)
            for item in one.client.get("/secure-history", headers=asker.headers).json()["items"]
        ]
        assert len(made) == 8
        assert {item["id"] for item in items} == made

    def test_one_who_hangs_up_takes_nothing_from_another(self, one: One) -> None:
        """If the first requester disconnects, the other gets the answer of the same computation."""
        with stopped(one.worker()):
            before, gone = computed(one.client), one.gone()
            first = one.ask("/fibonacci/3000001")
            wait_until(lambda: one.running() == 1, "the computation has begun")
            second = one.ask("/fibonacci/3000001")
            for _ in range(10):  # a later request was answered, so the service has read the second one
                one.client.get("/healthz").raise_for_status()
            first.close()
            wait_until(lambda: one.gone() == gone + 1, "the first client's disconnect is counted")
            assert one.running() == 1
        assert status_of(second) == 200
        assert computed(one.client) == before + 1

    def test_when_all_hang_up_the_computation_is_killed(self, one: One) -> None:
        """If all requesters disconnect, the computation is killed and its slot is free."""
        worker, gone = one.worker(), one.gone()
        with stopped(worker):
            callers = [one.ask("/fibonacci/3000002") for _ in range(3)]
            wait_until(lambda: one.running() == 1, "the computation has begun")
            for caller in callers:
                caller.close()
            wait_until(lambda: one.running() == 0, "the slot is free")
            wait_until(lambda: one.gone() == gone + 3, "the disconnects are counted")
            wait_until(lambda: worker not in children(one.server.pid), "the worker is gone")
        assert status_of(one.ask("/fibonacci/3000002")) == 200

    @pytest.mark.parametrize(
        ("fields", "status"),
        [
            ({}, b"200"),
            ({"Accept": "text/plain"}, b"200"),
            ({"Accept": "text/plain", "Range": "bytes=1-"}, b"206"),
            ({"Accept_Encoding": "gzip"}, b"200"),
        ],
        ids=["JSON", "text", "a range", "compressed"],
    )
    def test_the_rest_of_a_result_is_not_sent_to_one_who_hangs_up(
        self, one: One, fields: dict[str, str], status: bytes
    ) -> None:
        """If a client disconnects in the middle of a long result, the service notices it and stops sending.

        The client disconnects once nothing more arrives, because the HTTP server does not always report an immediate
        disconnect.
        """
        gone = one.gone()
        caller = one.ask("/fibonacci/60000000", **fields)
        assert caller.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 " + status
        unread: list[int] = []

        def still() -> bool:
            unread.append(int.from_bytes(fcntl.ioctl(caller, termios.FIONREAD, bytes(4)), sys.byteorder))
            return unread[-1] > 64 * 1024 and unread[-40:] == [unread[-1]] * 40  # a busy service also pauses earlier

        wait_until(still, "nothing more comes")
        caller.close()
        wait_until(lambda: one.gone() == gone + 1, "the disconnect is counted")


class TestProcesses:
    """No worker process is left behind."""

    def test_hanging_up_during_a_workers_start_leaks_no_process(self, one: One) -> None:
        """Clients that disconnect while a worker starts leave at most one worker process."""
        for k in range(3):
            with stopped(one.worker()):
                caller = one.ask(f"/fibonacci/{3_000_100 + k}")
                wait_until(lambda: one.running() == 1, "the computation has begun")
                caller.close()
                wait_until(lambda: children(one.server.pid) == [], "it was killed with its worker")
            caller = one.ask(f"/fibonacci/{3_000_200 + k}")
            wait_until(lambda: one.running() == 1, "a worker is being started")
            caller.close()
            wait_until(lambda: one.running() == 0, "it was given up")
            assert status_of(one.ask(f"/fibonacci/{3_000_300 + k}")) == 200
            assert len(children(one.server.pid)) == 1

    def test_a_short_deadline_leaks_no_process(self) -> None:
        """Computations that exceed a deadline of half a second get 504 and leave no more than one worker.

        A worker's start does not use up the deadline.
        """
        with (
            pycalc(compute_timeout="0.5", compute_workers="1") as server,
            httpx.Client(base_url=server.url, timeout=30) as client,
        ):
            person = new_person(client)
            for k in range(4):
                answer = client.get(f"/fibonacci/{60_000_000 + k}", headers=person.headers)
                assert (answer.status_code, answer.json()["type"]) == (504, "/docs/problems#computation-timeout")
                assert len(children(server.pid)) <= 1
            assert client.get("/fibonacci/100000", headers=person.headers).status_code == 200

    def test_a_worker_killed_while_idle_costs_nobody_anything(self, one: One) -> None:
        """If an idle worker is killed, the next computation gets another one."""
        worker = one.worker()
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: worker not in children(one.server.pid), "the worker is gone")
        assert status_of(one.ask("/fibonacci/3000400")) == 200


@contextmanager
def crowd(server: Server, threads: int) -> Iterator[tuple[httpx.Client, ThreadPoolExecutor, Person, Person]]:
    """Start one of the server's workers; yield a client, an executor with ``threads`` threads, and two users."""
    with httpx.Client(base_url=server.url, timeout=30) as client, ThreadPoolExecutor(threads) as executor:
        ada, bob = new_person(client), new_person(client)
        client.get("/factorial/20000", headers=ada.headers).raise_for_status()
        yield client, executor, ada, bob


class TestFairness:
    """Fairness between users: with two workers, one user does not get both."""

    def test_one_users_queue_is_nobody_elses(self) -> None:
        """One user's full queue does not delay another user's computation."""
        with pycalc(compute_workers="2") as server, crowd(server, 40) as (client, threads, ada, bob):
            (worker,) = children(server.pid)
            with stopped(worker):
                asking: list[Future[httpx.Response]] = [
                    threads.submit(httpx.get, f"{server.url}/fibonacci/{200_000 + k}", headers=ada.headers, timeout=30)
                    for k in range(40)
                ]
                wait_until(lambda: sum(future.done() for future in asking) == 7, "seven are refused")
                refused = [future.result() for future in asking if future.done()]
                assert {answer.status_code for answer in refused} == {503}
                assert {answer.json()["type"] for answer in refused} == {"/docs/problems#overloaded"}
                assert {answer.headers["Retry-After"] for answer in refused} == {"5"}
                running, waiting = (metric(client, f"pycalc_compute_{kind}") for kind in ("running", "waiting"))
                assert (running, waiting) == (1, 32)
                assert client.get("/fibonacci/1000000", headers=bob.headers).status_code == 200
                assert sum(future.done() for future in asking) == 7
            assert sorted(future.result().status_code for future in asking) == [200] * 33 + [503] * 7
            assert metric(client, "pycalc_compute_refused_total", reason="queue") == 7

    def test_a_shared_computation_does_not_wait_for_the_longer_queue(self) -> None:
        """If two users request the same result, it is computed as soon as one of them has their turn.

        So Bob, who has no other requests, does not wait for the nine earlier requests of Ada.
        """
        with pycalc(compute_workers="2") as server, crowd(server, 10) as (client, threads, ada, bob):
            (worker,) = children(server.pid)
            with stopped(worker):
                asking: list[Future[httpx.Response]] = []
                for k in range(10):
                    path = f"/fibonacci/{200_000 + k}"
                    asking.append(threads.submit(httpx.get, server.url + path, headers=ada.headers, timeout=30))
                    wait_until(lambda: metric(client, "pycalc_compute_waiting") == len(asking) - 1, "it waits")
                assert client.get("/fibonacci/200009", headers=bob.headers).status_code == 200
                assert asking[9].result().status_code == 200
                assert [k for k, future in enumerate(asking) if future.done()] == [9]
            assert [future.result().status_code for future in asking] == [200] * 10
            assert computed(client) == 11


BOMBS = {
    "beyond the limit": ("/fibonacci/1000000000000000000", {(422, "result-too-large")}),
    "a tower": (f"/pow/{'9' * 1_000}/{'9' * 1_000}", {(422, "result-too-large"), (503, "overloaded")}),
    "hours": (
        f"/factorial/1000000000000000000?mod={PRIME_26}",
        {(504, "computation-timeout"), (503, "overloaded")},
    ),
    "a short literal of a long number": (
        "/pow/{n}7/1e9980?view=summary",
        {(422, "validation-error"), (503, "overloaded")},
    ),
    "the most that is allowed": ("/fibonacci/11500000{n}", {(504, "computation-timeout"), (503, "overloaded")}),
    "the most of another kind": ("/pow/3/4300000{n}", {(504, "computation-timeout"), (503, "overloaded")}),
    "a long root": ("/pow/2/0.{n}1?precision=10000", {(200, ""), (503, "overloaded")}),
}


def test_bombs_are_answered_as_documented_and_hurt_nobody_else() -> None:
    """While a service with one worker handles 35 very expensive requests, small calculations are still answered.

    Each expensive request gets a result or a documented problem.
    """
    with (
        pycalc(compute_workers="1", compute_timeout="1") as server,
        httpx.Client(base_url=server.url, timeout=30) as client,
        httpx.Client(base_url=server.url, timeout=30) as attacking,
        ThreadPoolExecutor(30) as threads,
    ):
        attacker, person = new_person(client), new_person(client)

        def throw(path: str) -> tuple[int, str]:
            answer = attacking.get(path, headers=attacker.headers)
            slug = "" if answer.status_code == 200 else str(answer.json()["type"]).rpartition("#")[2]
            return answer.status_code, slug

        thrown = {
            threads.submit(throw, path.format(n=n)): allowed for n in range(1, 6) for path, allowed in BOMBS.values()
        }
        small = 0
        while not all(future.done() for future in thrown):
            assert client.get("/healthz").status_code == 200
            assert client.get(f"/fibonacci/{1_000 + small % 500}", headers=person.headers).status_code == 200
            small += 1
        got = [(future.result(), allowed) for future, allowed in thrown.items()]
        assert [told for told, allowed in got if told not in allowed] == []
        assert {(422, "result-too-large"), (504, "computation-timeout"), (503, "overloaded")} <= {t for t, _ in got}
        assert small > sum(told == (504, "computation-timeout") for told, _ in got)  # each of these took a second
        wait_until(lambda: metric(client, "pycalc_compute_running") == 0, "all is over")
        assert server.memory_mib() < 500
        assert client.get("/fibonacci/1000000", headers=person.headers).status_code == 200
