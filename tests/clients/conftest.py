"""Fixtures: new users of a real service, Python clients for them, and a faulty proxy between client and service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pycalc_client import Client, RetryPolicy

from tests.harness.accounts import PASSWORD, new_name
from tests.harness.faulty import FaultyProxy, faulty_proxy
from tests.harness.servers import Server

# Waits are short. Faults are injected, so tests need few attempts.
QUICK = RetryPolicy(attempts=4, deadline=60.0, first_wait=0.01, longest_wait=0.05)


@pytest.fixture
def username(server: Server) -> str:
    """Return the name of a new user."""
    name = new_name()
    with Client(server.url) as calc:
        calc.register(name, f"{name}@example.com", PASSWORD)
    return name


@pytest.fixture
def calc(server: Server, username: str) -> Iterator[Client]:
    """Return a client of a new user of the real service."""
    with Client(server.url, username=username, password=PASSWORD, retries=QUICK) as client:
        yield client


@pytest.fixture
def proxy(server: Server) -> Iterator[FaultyProxy]:
    """Run a faulty proxy in front of the real service."""
    with faulty_proxy(server.port) as running:
        yield running


@pytest.fixture
def faulty(proxy: FaultyProxy, username: str) -> Iterator[Client]:
    """Return a client that reaches the service through the faulty proxy."""
    with Client(proxy.url, username=username, password=PASSWORD, retries=QUICK) as client:
        yield client
