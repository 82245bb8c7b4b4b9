"""What all tests share: a real server for the session, and the service within the test's own process."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from xdist.scheduler import LoadScopeScheduling

from pycalc.cache import redis_client
from pycalc.db import migrate_database
from pycalc.main import create_app
from pycalc.resources import Resources
from pycalc.settings import Settings
from tests.contract.backends import DATABASES, each
from tests.services.daemons import Missing, program
from tests.services.in_process import client_of
from tests.services.kafka import Kafka, MockKafka, kafka, mock_kafka
from tests.services.postgres import Postgres, missing, postgres
from tests.services.pubsub import PubSub, pubsub
from tests.services.redis import Redis, redis
from tests.services.servers import Server, pycalc

PASSWORD = "correct horse battery staple"
_PROGRAM_FIXTURES = {
    "browser",
    "kafka",
    "own_redis",
    "postgres_server",
    "pubsub",
    "real_kafka",
    "redis_server",
    "small_redis",
}
"""Fixtures that run a program which pip does not install."""
_BROKERS = ("kafka", "pubsub")
"""Parts of the names of tests, their files and their parameters, by which one is known to need a broker."""


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a program which pip does not install, by their fixtures; begin with those of brokers."""
    for item in items:
        if _PROGRAM_FIXTURES & {*getattr(item, "fixturenames", ())}:
            item.add_marker(pytest.mark.programs)
    items.sort(key=lambda item: _broker(item.nodeid) is None)


def _broker(nodeid: str) -> str | None:
    return next((broker for broker in _BROKERS if broker in nodeid), None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Give all tests of a broker to one process, so that only one starts it, and otherwise those of a file."""
    config.option.loadscopereorder = False  # the order of collection is the right one
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = lambda nodeid: _broker(nodeid) or nodeid.partition("::")[0]
    return scheduler


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run asynchronous tests on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Run one real ``pycalc serve`` for all the tests that only need one."""
    with pycalc() as running:
        yield running


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """Run one real PostgreSQL for all the tests that need one; where it is missing they are skipped, but not in CI."""
    reason = missing()
    if reason is not None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with postgres(durable=False) as running:  # a slow disk is nobody's fault
        yield running


def require_program(name: str) -> None:
    """Skip a test that needs a program which is not installed; in CI that is a failure."""
    try:
        program(name)
    except Missing as error:
        pytest.skip(_excuse(error))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """Run one real Redis for all the tests that only use it."""
    require_program("redis-server")
    with redis() as running:
        yield running


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an answer of Redis take seconds: this machine may be busy, and the test is not about time."""
    monkeypatch.setattr(redis_client, "_ANSWER_SECONDS", 5.0)


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """The URL of a namespace of the test's own; options may follow."""
    return f"{redis_server.url}?namespace=test-{secrets.token_hex(8)}"


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    """Run a Redis that the test may stop, pause and kill."""
    require_program("redis-server")
    with redis() as running:
        yield running


@pytest.fixture(scope="session")
def migrated(postgres_server: Postgres) -> str:
    """The name of a database whose tables are made, to copy."""
    url = postgres_server.new_database()
    asyncio.run(migrate_database(url))
    return url.rpartition("/")[2]


@pytest.fixture
def postgres_url(postgres_server: Postgres, migrated: str) -> str:
    """The URL of a database of the test's own, migrated and empty."""
    return postgres_server.new_database(migrated)


def _excuse(missing: Missing) -> str:
    """Return why a server is not here; a machine that checks changes has no excuse."""
    if os.environ.get("CI"):
        pytest.fail(f"{missing}, and CI is set")
    return str(missing)


_MOCKED = pytest.StashKey[str]()


@pytest.fixture(scope="session", name="kafka")
def kafka_broker(pytestconfig: pytest.Config) -> Iterator[Kafka | MockKafka]:
    """Run one Apache Kafka for all tests, or librdkafka's mock of it where Java or Maven is missing."""
    with ExitStack() as stack:
        try:
            broker: Kafka | MockKafka = stack.enter_context(kafka())
        except Missing as missing:
            pytestconfig.stash[_MOCKED] = _excuse(missing)
            broker = stack.enter_context(mock_kafka(str(missing)))
        yield broker


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let whoever started this as one of several processes know of a mock."""
    output: dict[str, str] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["mocked"] = session.config.stash.get(_MOCKED, "")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Note what one of several processes has met."""
    if reason := getattr(node, "workeroutput", {}).get("mocked"):
        node.config.stash[_MOCKED] = reason


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say it when the tests have met a mock instead of Apache Kafka."""
    if reason := config.stash.get(_MOCKED, ""):
        terminalreporter.section("Kafka")
        terminalreporter.line(f"The tests ran on librdkafka's mock cluster instead of Apache Kafka: {reason}.")


@pytest.fixture(scope="session")
def real_kafka(kafka: Kafka | MockKafka) -> Kafka:
    """Return the broker where it is Apache Kafka itself."""
    if isinstance(kafka, MockKafka):
        pytest.skip(f"needs Apache Kafka: {kafka.reason}")
    return kafka


@pytest.fixture(scope="session")
async def one_loop() -> AsyncIterator[asyncio.AbstractEventLoop]:
    """Keep one event loop from here on: what gRPC's poller still has for a loop that was closed is an error."""
    loop = asyncio.get_running_loop()
    yield loop
    await loop.shutdown_default_executor()


@pytest.fixture(scope="session", name="pubsub")
def pubsub_emulator(one_loop: asyncio.AbstractEventLoop) -> Iterator[PubSub]:
    """Run one Pub/Sub emulator for all tests, and tell Google's libraries of it."""
    with ExitStack() as stack:
        try:
            emulator = stack.enter_context(pubsub())
        except Missing as missing:
            pytest.skip(_excuse(missing))
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        environment.setenv("PUBSUB_EMULATOR_HOST", emulator.emulator_host)
        yield emulator


@pytest.fixture(params=each(DATABASES))
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'pycalc.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a throw-away service: an empty folder, cheap password hashes, nothing from the environment."""
    monkeypatch.chdir(tmp_path)
    return Settings(
        data_dir=tmp_path / "data", bcrypt_rounds=4, compute_workers=1, register_limit="", metrics_seconds=0
    )


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    """The application, not yet started."""
    return create_app(settings)


@pytest.fixture
async def resources(app: FastAPI) -> AsyncIterator[Resources]:
    """What the application's lifespan opened."""
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        app.state.lifespan = state
        yield state["resources"]


@pytest.fixture
async def client(app: FastAPI, resources: Resources) -> AsyncIterator[httpx.AsyncClient]:
    """A client that talks to the application in this process."""
    async with client_of(app, app.state.lifespan) as opened:
        yield opened
