"""A throw-away PostgreSQL on a free port of 127.0.0.1, run as an unprivileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from tests.harness.processes import children
from tests.harness.servers import free_port

# Whom the server runs as when the tests run as root, which it refuses.
_UNPRIVILEGED = ("postgres", "nobody")
_START_SECONDS = "60"


def missing() -> str | None:
    """Return why PostgreSQL can't be started here, or None."""
    return None if programs() else "PostgreSQL's server programs (initdb, postgres) are not installed"


def programs() -> Path | None:
    """Return the folder of the server's programs, which Debian keeps off the PATH."""
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name))
    on_path = shutil.which("pg_ctl")
    folders = [*candidates, *([Path(on_path).parent] if on_path else [])]
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


def _account() -> pwd.struct_passwd:
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next(known[name] for name in _UNPRIVILEGED if name in known)


class Postgres:
    """A PostgreSQL cluster."""

    def __init__(self, folder: Path, programs: Path, *, durable: bool) -> None:
        self._account = _account()
        self._programs = programs
        self._data = folder / "data"
        self._log = folder / "log"
        self.port = free_port()
        os.chown(folder, self._account.pw_uid, self._account.pw_gid)
        self._run("initdb", "--auth=trust", "--username=pycalc", "--encoding=UTF8", "--locale=C", "--no-sync")
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = ''\n"
                f"max_connections = 200\nshared_buffers = 256MB\nfsync = {'on' if durable else 'off'}\n"
            )

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._run("pg_ctl", "start", "--wait", "--silent", f"--timeout={_START_SECONDS}", f"--log={self._log}")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server with ``smart``, ``fast`` or ``immediate``; the last is like a crash."""
        self._run("pg_ctl", "stop", "--wait", "--silent", f"--mode={mode}")

    def restart(self, mode: str = "immediate") -> None:
        """Restart the server on the same port."""
        self.stop(mode)
        self.start()

    def url(self, database: str) -> str:
        """Return the URL of one of the databases."""
        return f"postgresql://pycalc@127.0.0.1:{self.port}/{database}"

    def new_database(self, template: str = "template1") -> str:
        """Create a database, as a copy of another one, and return its URL."""
        name = f"pycalc_{uuid4().hex}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def sql(self, statement: str) -> None:
        """Run one statement as the server's superuser."""
        subprocess.run([self._programs / "psql", "--quiet", "--command", statement, self.url("postgres")], check=True)

    def processes(self) -> list[int]:
        """Return the ids of the server's processes."""
        main = int((self._data / "postmaster.pid").read_text().partition("\n")[0])
        return [main, *children(main)]

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._programs / program, "--pgdata", self._data, *arguments],
            check=True,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            user=self._account.pw_uid if os.geteuid() == 0 else None,
            group=self._account.pw_gid if os.geteuid() == 0 else None,
            extra_groups=[] if os.geteuid() == 0 else None,
        )


@contextmanager
def postgres(*, durable: bool = True) -> Iterator[Postgres]:
    """Run a new cluster, and delete it at the end.

    One that is not ``durable`` does not wait for the disk: killed it loses nothing, only a power failure would.
    """
    found = programs()
    if found is None:
        raise RuntimeError(missing())
    with TemporaryDirectory(prefix="pycalc-postgres-") as folder:
        server = Postgres(Path(folder), found, durable=durable)
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
