"""Fixtures for all tests: a real server for the session, and the service within the test's own process."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from shutil import copy2
from typing import Any

import httpx
import hypothesis
import pytest
from fastapi import FastAPI
from xdist.scheduler import LoadScopeScheduling

from pycalc.cache.redis.cache import RedisCache
from pycalc.cache.redis.client import Times
from pycalc.db import migrate_database
from pycalc.db.roles import api_role, consumer_role
from pycalc.db.sqlite import SqliteDatabase
from pycalc.main import open_state
from pycalc.resources.wiring import Resources
from pycalc.settings import Settings
from tests.contract.backends import DATABASES, each
from tests.harness import servers
from tests.harness.daemons import Missing, program
from tests.harness.fake_pubsub import AnyPubSub, FakePubSub, fake_pubsub
from tests.harness.fake_redis import FakeRedis, fake_redis
from tests.harness.in_process import application, client_of
from tests.harness.kafka import AnyKafka, Kafka, kafka
from tests.harness.mock_kafka import MockKafka, mock_kafka
from tests.harness.oidc import OidcProvider, oidc_provider
from tests.harness.postgres import Postgres, missing, postgres
from tests.harness.pubsub import PubSub, pubsub
from tests.harness.redis import AnyRedis, Redis, redis
from tests.harness.servers import API_ROLE, CONSUMER_ROLE, Server, pycalc

_ROLE_PASSWORD = "0123456789abcdef"
# Fixtures that run programs which pip does not install.
_PROGRAM_FIXTURES = {
    "browser",
    "identity_provider",
    "own_real_redis",
    "postgres_server",
    "pubsub_emulator",
    "real_kafka",
    "real_redis",
    "small_redis",
}
# The tests of brokers, and the folders with the files that take longest, in the order in which they begin. Begun last,
# such a file would run alone at the end. The tests of a broker mostly wait, so those of the other broker come after the
# tests of ``e2e``, whose browser keeps the processors busy meanwhile.
_START_ORDER = ("kafka", "e2e", "pubsub", "property", "drills")
# If one of these is part of a test's name, file name or parameter, the test needs that broker.
_BROKERS = ("kafka", "pubsub")

# Every run draws the same examples, without a time limit, so that neither chance nor a slow machine fails a test.
hypothesis.settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("repeatable")


@pytest.hookimpl(tryfirst=True)  # this hook must run before pytest selects tests by their markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Add the marker ``programs``; run tests of brokers first, and those of slow folders next."""
    for item in items:
        if _PROGRAM_FIXTURES & {*getattr(item, "fixturenames", ())}:
            item.add_marker(pytest.mark.programs)
    items.sort(key=_start_order)


def pytest_configure() -> None:
    """Remove the developer's settings from the environment of the tests and of the servers, which are forked."""
    servers.forking = True
    for name in [name for name in os.environ if name.upper().startswith("PYCALC_") and name != "PYCALC_CHECK_IMAGE"]:
        del os.environ[name]


def pytest_collection_finish() -> None:
    """Exclude the collected tests from garbage collection, because scanning them would pause a process for a second."""
    gc.collect()
    gc.freeze()


def _start_order(item: pytest.Item) -> int:
    group = _broker(item.nodeid) or item.path.parent.name
    return _START_ORDER.index(group) if group in _START_ORDER else len(_START_ORDER)


def _broker(nodeid: str) -> str | None:
    return next((broker for broker in _BROKERS if broker in nodeid), None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Give all tests of a broker to one worker process, so that the broker starts once; group other tests by file."""
    config.option.loadscopereorder = False  # keep the order of collection
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = lambda nodeid: _broker(nodeid) or nodeid.partition("::")[0]
    return scheduler


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run asynchronous tests on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Run one real ``pycalc serve`` for the tests that only need a server."""
    with pycalc() as running:
        yield running


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """Run one real PostgreSQL for the session; without it, tests are skipped, or fail in CI."""
    reason = missing()
    if reason is not None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with postgres(durable=False) as running:  # these tests simulate no power failure
        yield running


def require_program(name: str) -> None:
    """Skip the calling test if a program is not installed; in CI, fail it instead."""
    try:
        program(name)
    except Missing as error:
        pytest.skip(_excuse(error))


_REDISES = ["fake", pytest.param("real", marks=pytest.mark.programs)]


@pytest.fixture(scope="session")
def real_redis() -> Iterator[Redis]:
    """Run one real Redis for the tests that do not stop it."""
    require_program("redis-server")
    with redis() as running:
        yield running


@pytest.fixture(scope="session")
def shared_fake_redis() -> Iterator[FakeRedis]:
    """Run one fake Redis (in this process) for the tests that do not stop it."""
    with fake_redis() as running:
        yield running


@pytest.fixture(scope="session", params=_REDISES)
def redis_server(request: pytest.FixtureRequest) -> AnyRedis:
    """Return a real and a fake Redis in turn, for the tests that do not stop it."""
    server: AnyRedis = request.getfixturevalue("real_redis" if request.param == "real" else "shared_fake_redis")
    return server


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give Redis 5 s to answer, because a busy machine may be slow and these tests do not measure time.

    A process's lease on a result is renewed only after 20 s, because a renewal would be one of the Redis commands that
    some tests count.
    """
    times = Times(answer=5.0, store=5.0, lease=60.0, renewal=20.0)
    monkeypatch.setattr(RedisCache, "of_url", partial(RedisCache.of_url, times=times))


@pytest.fixture
def redis_url(redis_server: AnyRedis) -> str:
    """Return the URL of a new namespace in Redis; options may be appended."""
    return f"{redis_server.url}?namespace=test-{secrets.token_hex(8)}"


@pytest.fixture
def own_real_redis() -> Iterator[Redis]:
    """Run a real Redis that the test may stop, pause and kill."""
    require_program("redis-server")
    with redis() as running:
        yield running


@pytest.fixture(params=_REDISES)
def own_redis(request: pytest.FixtureRequest) -> Iterator[AnyRedis]:
    """Run a Redis that the test may stop, pause and kill: a real and a fake one in turn."""
    if request.param == "real":
        yield request.getfixturevalue("own_real_redis")
        return
    with fake_redis() as running:
        yield running


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine in a new thread, because Playwright may have left its own event loop running in this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a migrated SQLite file; tests copy it, which is faster than migrating a new one."""
    file = tmp_path_factory.mktemp("migrated") / "pycalc.db"
    _run(migrate_database(f"sqlite:///{file}"))
    return file


@pytest.fixture(scope="session")
def migrated(postgres_server: Postgres) -> str:
    """Return the name of a migrated PostgreSQL database; tests copy it, which is faster than migrating a new one."""
    url = postgres_server.new_database()
    roles = api_role(f"{API_ROLE}:{_ROLE_PASSWORD}"), consumer_role(f"{CONSUMER_ROLE}:{_ROLE_PASSWORD}")
    _run(migrate_database(url, roles))
    return url.rpartition("/")[2]


@pytest.fixture
def postgres_url(postgres_server: Postgres, migrated: str) -> str:
    """Return the URL of a new, empty, migrated PostgreSQL database."""
    return postgres_server.new_database(migrated)


def _excuse(missing: Missing) -> str:
    """Return the reason for skipping a test whose program is missing; in CI, fail the test instead."""
    if os.environ.get("CI"):
        pytest.fail(f"{missing}, and CI is set")
    return str(missing)


@pytest.fixture(scope="session")
def real_kafka() -> Iterator[Kafka]:
    """Run one real Apache Kafka for all tests that need it."""
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(kafka())
        except Missing as missing:
            pytest.skip(_excuse(missing))
        yield broker


@pytest.fixture(scope="session")
def mocked_kafka() -> MockKafka:
    """Run librdkafka's mock of Kafka once for all tests."""
    return mock_kafka()


@pytest.fixture(scope="session", name="kafka", params=["mock", pytest.param("real", marks=pytest.mark.programs)])
def kafka_broker(request: pytest.FixtureRequest) -> AnyKafka:
    """Return a mock and a real Kafka in turn."""
    broker: AnyKafka = request.getfixturevalue("real_kafka" if request.param == "real" else "mocked_kafka")
    return broker


@pytest.fixture(scope="session")
def identity_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OidcProvider]:
    """Run one real identity provider. It redirects browsers to a URL where nothing listens; tests only read the URL."""
    with ExitStack() as stack:
        try:
            folder, url = tmp_path_factory.mktemp("oidc"), "http://127.0.0.1:1/oidc/callback"
            provider = stack.enter_context(oidc_provider(folder, url))
        except Missing as missing:
            pytest.skip(_excuse(missing))
        yield provider


@pytest.fixture(scope="session")
async def one_loop() -> AsyncIterator[asyncio.AbstractEventLoop]:
    """Keep one event loop for the session, because gRPC's poller reports errors for a closed loop."""
    loop = asyncio.get_running_loop()
    yield loop
    await loop.shutdown_default_executor()


@pytest.fixture(scope="session")
def pubsub_emulator(one_loop: asyncio.AbstractEventLoop) -> Iterator[PubSub]:
    """Run one Pub/Sub emulator for all tests."""
    with ExitStack() as stack:
        try:
            emulator = stack.enter_context(pubsub())
        except Missing as missing:
            pytest.skip(_excuse(missing))
        yield emulator


@pytest.fixture
def real_pubsub(pubsub_emulator: PubSub, monkeypatch: pytest.MonkeyPatch) -> PubSub:
    """Return the emulator, and make Google's client libraries use it."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_emulator.emulator_host)
    return pubsub_emulator


@pytest.fixture
def faked_pubsub(one_loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePubSub]:
    """Run a fake Pub/Sub in this process, and make Google's client libraries use it."""
    with fake_pubsub() as service:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", service.emulator_host)
        yield service


@pytest.fixture(name="pubsub", params=["fake", pytest.param("real", marks=pytest.mark.programs)])
def pubsub_service(request: pytest.FixtureRequest) -> AnyPubSub:
    """Return a fake Pub/Sub and the emulator in turn."""
    service: AnyPubSub = request.getfixturevalue("real_pubsub" if request.param == "real" else "faked_pubsub")
    return service


@pytest.fixture(params=each(DATABASES))
def database_url(request: pytest.FixtureRequest, tmp_path: Path, migrated_file: Path) -> str:
    """Return the URL of an empty, migrated database: SQLite and PostgreSQL in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{copy2(migrated_file, tmp_path)}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def settings(tmp_path: Path, migrated_file: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return settings of a temporary service: an empty database, cheap password hashes, and no ``.env`` file.

    The clock of an SQLite database stands still. On a busy machine, a thread may begin a read over a second late, and
    the read would be refused with 503.
    """
    monkeypatch.setattr(SqliteDatabase, "open", partial(SqliteDatabase.open, clock=lambda: 0.0))
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    copy2(migrated_file, data)
    return Settings(data_dir=data, bcrypt_rounds=4, compute_workers=1, register_limit="", metrics_seconds=0)


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    """Return the application, whose resources are not open yet."""
    return application(settings)


@pytest.fixture
async def resources(settings: Settings, app: FastAPI) -> AsyncIterator[Resources]:
    """Open the application's resources, as its lifespan does."""
    async with open_state(settings) as state:
        app.state.lifespan = state
        yield state["resources"]


@pytest.fixture
async def client(app: FastAPI, resources: Resources) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client that calls the application within this process."""
    async with client_of(app, app.state.lifespan) as opened:
        yield opened
