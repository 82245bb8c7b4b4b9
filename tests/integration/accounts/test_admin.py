"""``pycalc admin create``, which makes an admin from the command line."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from pathlib import Path

import httpx
import pytest

from pycalc.cli import database
from pycalc.cli.main import main
from pycalc.settings import Settings
from tests.harness.accounts import PASSWORD, registration
from tests.harness.in_process import in_process
from tests.harness.servers import pycalc

Command = Callable[..., int]

COMMAND = [sys.executable, "-m", "pycalc", "admin", "create"]
ROOT = ["--username", "root", "--email", "root@example.com"]


def environment(data: Path) -> dict[str, str]:
    """Return the environment of a command that uses this data folder."""
    return {**os.environ, "PYCALC_DATA_DIR": str(data), "PYCALC_BCRYPT_ROUNDS": "4"}


def create(data: Path, *arguments: str, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
    """Run ``pycalc admin create`` with the password on standard input; without ``arguments``, it creates root."""
    command = [*COMMAND, *(arguments or ROOT)]
    return subprocess.run(
        command, env=environment(data), input=password + "\n", capture_output=True, text=True, timeout=60, check=False
    )


def test_the_admin_may_do_what_admins_do(tmp_path: Path) -> None:
    """An admin made before the first start can log in and use admin routes; the audit log has the new account."""
    done = create(tmp_path)
    assert (done.returncode, done.stdout) == (0, "root is an admin\n")
    audit = json.loads(done.stderr)
    assert {name: audit[name] for name in ("event", "user", "role", "by")} == {
        "event": "account created",
        "user": "root",
        "role": "admin",
        "by": "the command line",
    }
    with pycalc(data=tmp_path) as server, httpx.Client(base_url=server.url) as client:
        session = client.post("/login", json={"username": "root", "password": PASSWORD}).json()
        listed = client.get("/users", headers={"Authorization": f"Bearer {session['access_token']}"})
        assert [(user["username"], user["role"]) for user in listed.json()["items"]] == [("root", "admin")]
        assert not (tmp_path / "bootstrap-token").exists()


@pytest.fixture
def create_here(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return a function that runs ``pycalc admin create`` in this process, with a text as its standard input."""
    monkeypatch.setattr(database, "configure", lambda: settings)

    def run(*arguments: str, given: str = PASSWORD + "\n") -> int:
        monkeypatch.setattr(sys, "stdin", StringIO(given))
        return main(["admin", "create", *(arguments or ROOT)])

    return run


def login_status(settings: Settings) -> int:
    """Start a service, and return the status of a login as root."""

    async def work() -> int:
        async with in_process(settings) as client:
            return (await client.post("/login", json={"username": "root", "password": PASSWORD})).status_code

    return asyncio.run(work())


@pytest.mark.parametrize("text", ["{}", "{}\n", "{}\r\n", "{}\nanother line\n", "\ufeff{}\r\n"])
def test_the_password_of_a_file(create_here: Command, settings: Settings, tmp_path: Path, text: str) -> None:
    """With a password file, its first line without a byte order mark is the password; standard input is not read."""
    file = tmp_path / "password"
    file.write_bytes(text.format(PASSWORD).encode())
    assert create_here(*ROOT, "--password-file", str(file), given="too short\n") == 0
    assert login_status(settings) == 200


def test_a_password_file_in_another_encoding_is_refused(
    create_here: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the password file is not valid UTF-8, the error says so, and shows no part of the password."""
    file = tmp_path / "password"
    file.write_bytes("ein schönes langes Kennwort".encode("latin-1"))
    assert create_here(*ROOT, "--password-file", str(file)) == 1
    assert capsys.readouterr().err == f"pycalc: {file} is not valid UTF-8: save it as UTF-8.\n"


def test_a_missing_password_file_is_named(
    create_here: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the password file can't be read, the error names it."""
    assert create_here(*ROOT, "--password-file", str(tmp_path / "nowhere")) == 1
    assert str(tmp_path / "nowhere") in capsys.readouterr().err


def test_the_bootstrap_token_is_used_up(tmp_path: Path) -> None:
    """``pycalc admin create`` makes an earlier bootstrap token invalid, and deletes its file."""
    with pycalc(data=tmp_path):
        token = (tmp_path / "bootstrap-token").read_text().strip()
    assert create(tmp_path).returncode == 0
    assert not (tmp_path / "bootstrap-token").exists()
    with pycalc(data=tmp_path) as server, httpx.Client(base_url=server.url) as client:
        body = registration("another", role="admin")
        assert client.post("/register", json=body, headers={"X-Bootstrap-Token": token}).status_code == 403


def test_a_running_service_keeps_its_file(tmp_path: Path) -> None:
    """While a service uses the SQLite file, ``pycalc admin create`` fails and names the service's process id."""
    with pycalc(data=tmp_path) as server:
        refused = create(tmp_path)
        assert (tmp_path / "bootstrap-token").exists()
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"in use by process {server.pid}" in refused.stderr
    assert create(tmp_path).returncode == 0


def test_a_line_of_another_system_is_the_same_password(create_here: Command, settings: Settings) -> None:
    """CR LF at the end of a piped password is ignored."""
    assert create_here(given=PASSWORD + "\r\n") == 0
    assert login_status(settings) == 200


@pytest.mark.parametrize(
    ("username", "email", "password", "sentence"),
    [
        ("ROOT", "other@example.com", PASSWORD, "The username or the email address is taken."),
        ("other", "ROOT@example.com", PASSWORD, "The username or the email address is taken."),
        ("a\u202eb", "other@example.com", PASSWORD, "username: "),
        ("other", "other", PASSWORD, "email: "),
        ("other", "other@example.com", "short", "password: "),
        ("other", "other@example.com", "iloveyou", "easy to guess"),
        ("other", "other@example.com", "", "password: "),
    ],
)
def test_what_registration_refuses_is_refused(
    create_here: Command, capsys: pytest.CaptureFixture[str], username: str, email: str, password: str, sentence: str
) -> None:
    """An invalid or existing account is refused with status 1 and one line that does not contain the password."""
    assert create_here() == 0
    capsys.readouterr()
    assert create_here("--username", username, "--email", email, given=password + "\n") == 1
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("pycalc: ")
    assert sentence in line
    assert not password or password not in line


@pytest.mark.parametrize(
    ("second", "status", "told"),
    [(PASSWORD, 0, "root is an admin"), ("another one", 1, "the passwords are not the same")],
)
def test_at_a_terminal_the_password_is_not_shown(tmp_path: Path, second: str, status: int, told: str) -> None:
    """At a terminal, ``pycalc admin create`` asks for the password twice without echo, and both must be equal."""
    here, there = pty.openpty()
    command = subprocess.Popen(
        [*COMMAND, *ROOT], stdin=there, stdout=there, stderr=there, start_new_session=True, env=environment(tmp_path)
    )
    os.close(there)
    shown = b""
    for prompt, typed in ((b"Password: ", PASSWORD), (b"Again: ", second)):
        while prompt not in shown:
            shown += os.read(here, 1024)
        os.write(here, typed.encode() + b"\n")
    with suppress(OSError):  # on Linux, reading from a terminal raises OSError once its program has ended
        while part := os.read(here, 1024):
            shown += part
    os.close(here)
    assert command.wait(30) == status
    assert told in shown.decode()
    assert PASSWORD not in shown.decode()


@pytest.mark.parametrize(("typed", "status", "told"), [(b"\x04", 1, "pycalc: no password was typed"), (None, 130, "")])
def test_a_password_that_is_not_typed(tmp_path: Path, typed: bytes | None, status: int, told: str) -> None:
    """Ctrl-D instead of a password makes ``pycalc admin create`` fail with one line; SIGINT ends it with status 130."""
    here, there = pty.openpty()
    program = [
        "env",
        "--default-signal=INT",
        *COMMAND,
        *ROOT,
    ]  # whoever runs the tests may ignore SIGINT, as nohup does
    command = subprocess.Popen(
        program, stdin=there, stdout=there, stderr=there, start_new_session=True, env=environment(tmp_path)
    )
    os.close(there)
    shown = b""
    while b"Password: " not in shown:
        shown += os.read(here, 1024)
    if typed is None:
        command.send_signal(signal.SIGINT)
    else:
        os.write(here, typed)
    with suppress(OSError):  # as above
        while part := os.read(here, 1024):
            shown += part
    os.close(here)
    assert command.wait(30) == status
    assert told in shown.decode()
    assert "Traceback" not in shown.decode()


def test_a_closed_standard_input_has_no_password(tmp_path: Path) -> None:
    """If standard input is closed, ``pycalc admin create`` fails with one line, as for an empty password."""
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *COMMAND, *ROOT]
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("pycalc: password: ")
    assert done.stderr.count("\n") == 1
