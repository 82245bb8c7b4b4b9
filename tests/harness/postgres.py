"""A temporary PostgreSQL on a free port of 127.0.0.1, run as an unprivileged user."""

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
from tests.harness.servers import API_ROLE, free_port

# The user that runs the server if the tests run as root, because PostgreSQL refuses to run as root.
_UNPRIVILEGED = ("postgres", "nobody")
_START_SECONDS = "60"
OWNER = "pycalc"


def missing() -> str | None:
    """Return a message if PostgreSQL's server programs are not installed; otherwise None."""
    return None if programs() else "PostgreSQL's server programs (initdb, postgres) are not installed"


def programs() -> Path | None:
    """Return the folder of the server's programs, which Debian keeps off the PATH; None if there is none."""
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

    def __init__(self, folder: Path, programs: Path, *, durable: bool, identity: Path | None = None) -> None:
        self._account = _account()
        self._programs = programs
        self._data = folder / "data"
        self._log = folder / "log"
        self.port = free_port()
        os.chown(folder, self._account.pw_uid, self._account.pw_gid)
        self._run("initdb", "--auth=trust", f"--username={OWNER}", "--encoding=UTF8", "--locale=C", "--no-sync")
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = ''\n"
                f"max_connections = 200\nshared_buffers = 256MB\nfsync = {'on' if durable else 'off'}\n"
            )

        if identity is not None:
            self._require_tls(identity)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._run("pg_ctl", "start", "--wait", "--silent", f"--timeout={_START_SECONDS}", f"--log={self._log}")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server in the mode ``smart``, ``fast`` or ``immediate``; the last is like a crash."""
        self._run("pg_ctl", "stop", "--wait", "--silent", f"--mode={mode}")

    def restart(self, mode: str = "immediate") -> None:
        """Stop the server in one of the modes of ``stop``, and start it again on the same port."""
        self.stop(mode)
        self.start()

    def url(self, database: str, role: str = OWNER) -> str:
        """Return the URL of a database for a role."""
        return f"postgresql://{role}@127.0.0.1:{self.port}/{database}"

    def new_database(self, migrated: str | None = None) -> str:
        """Create an empty database, or a copy of a migrated one; return its URL.

        The URL of an empty database names the owner's role. The URL of a copy names the role of API servers, so that
        tests have no more rights than a server has.
        """
        name = f"pycalc_{uuid4().hex}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {migrated or 'template1'}")
        return self.url(name, API_ROLE if migrated else OWNER)

    def sql(self, statement: str) -> None:
        """Run one statement as the server's superuser."""
        subprocess.run([self._programs / "psql", "--quiet", "--command", statement, self.url("postgres")], check=True)

    def processes(self) -> list[int]:
        """Return the ids of the server's processes."""
        main = int((self._data / "postmaster.pid").read_text().partition("\n")[0])
        return [main, *children(main)]

    def _require_tls(self, identity: Path) -> None:
        """Accept only connections over TLS, and require a password from every role except the owner.

        ``identity`` is a file with a certificate and its key.
        """
        copy = self._data / "identity.pem"
        copy.touch(mode=0o600)
        copy.write_bytes(identity.read_bytes())
        os.chown(copy, self._account.pw_uid, self._account.pw_gid)
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(f"ssl = on\nssl_cert_file = '{copy}'\nssl_key_file = '{copy}'\n")
        rules = f"hostssl all {OWNER} 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
        (self._data / "pg_hba.conf").write_text(rules)

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
def postgres(*, durable: bool = True, identity: Path | None = None) -> Iterator[Postgres]:
    """Run a new cluster, and delete it at the end.

    With ``durable=False`` it runs without fsync: a power failure could lose data, but killing the server does not.
    ``identity`` is a file with a certificate and its key. With it, the cluster requires TLS, and a password from every
    role except the owner.
    """
    found = programs()
    if found is None:
        raise RuntimeError(missing())
    with TemporaryDirectory(prefix="pycalc-postgres-") as folder:
        server = Postgres(Path(folder), found, durable=durable, identity=identity)
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
