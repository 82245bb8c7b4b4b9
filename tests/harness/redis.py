"""A temporary Redis, for tests and for ``make services``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from redis import Redis as Client

from tests.harness.daemons import Daemon, program
from tests.harness.fake_redis import FakeRedis
from tests.harness.servers import free_port


class Redis(Daemon):
    """A running redis-server without persistence."""

    @property
    def url(self) -> str:
        """Return the URL of the first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    def results(self, namespace: str) -> list[bytes]:
        """Return the keys of the cached results in a namespace."""
        with Client(port=self.port) as client:
            return list(client.scan_iter(f"{namespace}:result:*", count=1_000))


AnyRedis = Redis | FakeRedis


@contextmanager
def redis(*arguments: str) -> Iterator[Redis]:
    """Run a Redis on a free port, with extra arguments; raises Missing if it is not installed."""
    port = free_port()
    with TemporaryDirectory(prefix="pycalc-redis-") as folder:
        options = ("--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", "", "--appendonly", "no")
        command = [program("redis-server"), *options, *arguments]
        server = Redis("Redis", command, port, Path(folder) / "log")
        try:
            server.start()
            yield server
        finally:
            server.stop()
