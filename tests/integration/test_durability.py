"""Nothing that was answered is lost: a real server under load is killed at random moments, again and again."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import monotonic

import httpx

from tests.services.accounts import Person, new_person
from tests.services.servers import Server, pycalc
from tests.services.waiting import wait_until

ROUNDS = 5
THREADS = 8
LONGEST_LOAD_SECONDS = 0.6
FEWEST_ANSWERS = 20


def calculate_until_killed(server: Server, person: Person, answered: list[str]) -> None:
    """Calculate without a pause and note each id that was answered with 2xx, until the server is gone."""
    with (
        httpx.Client(base_url=server.url, headers=person.headers, timeout=30) as client,
        suppress(httpx.TransportError),
    ):
        for n in range(1_000_000):
            answer = client.get(f"/fibonacci/{n % 400}")
            if answer.is_success:
                answered.append(answer.json()["id"])


@contextmanager
def load(server: Server, person: Person, answered: list[str]) -> Iterator[None]:
    """Keep the server busy; in the end wait for the threads, which end when the server does."""
    threads = [threading.Thread(target=calculate_until_killed, args=(server, person, answered)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(60)


def kill_under_load(server: Server, answered: list[str], seconds: float) -> None:
    """Kill the server so many seconds after the load has begun."""
    enough = len(answered) + FEWEST_ANSWERS
    wait_until(lambda: len(answered) >= enough, "the load has begun")
    moment = monotonic() + seconds
    wait_until(lambda: monotonic() >= moment, "the moment to kill the server")
    os.kill(server.pid, signal.SIGKILL)


def everything(client: httpx.Client, person: Person) -> list[str]:
    """Return the ids of the whole history."""
    found: list[str] = []
    cursor = None
    while True:
        parameters = {"limit": "1000", **({"cursor": cursor} if cursor else {})}
        page = client.get("/secure-history", headers=person.headers, params=parameters).raise_for_status().json()
        found += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def test_no_answered_calculation_is_lost_or_doubled_by_kill_9(tmp_path: Path) -> None:
    """Every 2xx id of five killed servers is in the history exactly once; the outbox drains; the file is whole."""
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)  # noqa: S311  # moments, no secrets
    answered: list[str] = []
    with pycalc(data=tmp_path) as server, httpx.Client(base_url=server.url) as client:
        person = new_person(client)
    for _ in range(ROUNDS):
        with pycalc(data=tmp_path) as server, load(server, person, answered):
            kill_under_load(server, answered, chance.uniform(0, LONGEST_LOAD_SECONDS))
    with pycalc(data=tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        counted = Counter(everything(client, person))
        wait_until(lambda: "\npycalc_outbox_backlog 0.0\n" in client.get("/metrics").text, "the outbox is empty")
    assert set(answered) <= set(counted), f"lost, with seed {seed}"
    assert max(counted.values()) == 1
    assert len(set(answered)) == len(answered)
    with closing(sqlite3.connect(tmp_path / "pycalc.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
