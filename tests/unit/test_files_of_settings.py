"""Settings that name files and folders: a message about an unusable one has the setting, the path and the remedy."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from pycalc.cli.database import create_admin
from pycalc.db.postgres_url import location_of
from pycalc.files import usable_folder
from pycalc.streaming.kafka.options import kafka_options
from tests.harness.servers import KEYS, PYCALC, launch

POSTGRES = "postgresql://ada@127.0.0.1:1/pycalc?sslmode=verify-full"
READ = "Name a file that this process (user {user}) can read."
CREATE = ("admin", "create", "--username=ada", "--email=ada@example.com", "--password-file")
WRITE = "Name a folder in which this process (user {user}) can create and write files."


def last_line(folder: Path, *command: str, **settings: str) -> str:
    """Run a command that fails to start. Return the last line of its standard error."""
    log = folder / "log"
    process = launch([*PYCALC, *command], {"PYTHONPATH": ":".join(sys.path), "PYCALC_PORT": "0", **settings}, log)
    assert process.wait(60) == 1
    assert "Traceback" not in log.read_text()
    return log.read_text().splitlines()[-1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the present folder. It has a file ``plain``, which holds neither a key nor a certificate."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain").write_text("hi\n")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "data", "reason"),
    [
        (("serve",), "plain", "File exists, and it is not a folder"),
        (("migrate",), "plain/data", "Not a directory"),
        (("history", "prune", "--older-than", "1d"), "/proc/data", "No such file or directory"),
        (("serve",), "/proc/tty", "No such file or directory, at /proc/tty/pycalc.db.lock"),
    ],
)
def test_an_unusable_data_folder_is_named(folder: Path, command: tuple[str, ...], data: str, reason: str) -> None:
    """If a command can't use the database's folder, it names the settings, the folder, the reason and the remedy."""
    line = last_line(folder, *command, PYCALC_DATA_DIR=data)
    assert line == (
        "pycalc: PYCALC_DATA_DIR, or PYCALC_DATABASE_URL if it is set: "
        f"the folder {folder / data} can't be used ({reason}). " + WRITE.format(user=os.geteuid())
    )


def test_the_data_folder_of_keys_and_token_is_named(folder: Path) -> None:
    """If only keys or the bootstrap token belong in an unusable data folder, the message names PYCALC_DATA_DIR."""
    database = f"sqlite:///{folder / 'calc.db'}"
    line = last_line(folder, "serve", PYCALC_DATA_DIR="plain", PYCALC_DATABASE_URL=database)
    assert line == (
        "pycalc: PYCALC_DATA_DIR: the folder plain can't be used (File exists, and it is not a folder). "
        + WRITE.format(user=os.geteuid())
    )
    keys = {f"PYCALC_{name.upper()}": value for name, value in KEYS.items()}
    line = last_line(folder, "serve", PYCALC_DATA_DIR="plain", PYCALC_DATABASE_URL=database, **keys)
    assert line.startswith("pycalc: PYCALC_DATA_DIR: the folder plain can't be used (")


@pytest.mark.parametrize("name", ["secret-key", "password-key"])
@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_an_empty_development_key_is_refused(folder: Path, name: str, content: bytes) -> None:
    """A development key that was emptied or overwritten is refused with the setting and the file's name."""
    (folder / "data").mkdir()
    (folder / "data" / name).write_bytes(content)
    line = last_line(folder, "serve")
    assert line == f"pycalc: PYCALC_DATA_DIR: the file data/{name} holds no key. Restore it from a backup."


def test_a_data_folder_with_a_mark_of_urls_is_named(folder: Path) -> None:
    """A ? or # in the name of the data folder is refused, because the name becomes a part of the database's URL."""
    line = last_line(folder, "serve", PYCALC_DATA_DIR="a?b")
    assert line == "pycalc: bad settings: PYCALC_DATA_DIR: the folder's name 'a?b' must not contain ? or #"


@pytest.mark.parametrize(("file", "reason"), [("nowhere", "No such file or directory"), (".", "Is a directory")])
def test_an_unreadable_file_of_signing_keys_is_named(folder: Path, file: str, reason: str) -> None:
    """If the file of signing keys can't be read, the message names the setting, the file and the reason."""
    line = last_line(folder, "serve", PYCALC_SECRET_KEYS_FILE=file)
    assert line.startswith(
        f"pycalc: PYCALC_SECRET_KEYS_FILE: the key file {file} can't be read ({reason}); name a file"
    )


def test_a_file_without_signing_keys_is_named(folder: Path) -> None:
    """If the file of signing keys contains no key, the message names the setting, the file and what it needs."""
    line = last_line(folder, "serve", PYCALC_SECRET_KEYS_FILE="plain")
    assert line.startswith("pycalc: PYCALC_SECRET_KEYS_FILE: the key file plain needs a key a line")


@pytest.mark.parametrize(
    ("setting", "url", "option"),
    [
        ("DATABASE", POSTGRES + "&{}={}", "sslrootcert"),
        ("DATABASE", POSTGRES + "&sslcert=plain&{}={}", "sslkey"),
        ("CACHE", "rediss://127.0.0.1:1/0?{}={}", "ssl_ca_certs"),
        ("STREAM", "kafka+ssl://127.0.0.1:1/events?{}={}", "ssl.ca.location"),
    ],
)
def test_a_missing_file_in_a_url_is_named(folder: Path, setting: str, url: str, option: str) -> None:
    """If a TLS file in a URL is missing, the message names the setting, the option, the file and the reason."""
    keys = {f"PYCALC_{name.upper()}": value for name, value in KEYS.items()}
    line = last_line(folder, "serve", **keys, **{f"PYCALC_{setting}_URL": url.format(option, "nowhere")})
    assert line == (
        f"pycalc: PYCALC_{setting}_URL: {option}: nowhere can't be read (No such file or directory). "
        + READ.format(user=os.geteuid())
    )


@pytest.mark.parametrize(
    ("setting", "url"),
    [
        ("DATABASE", f"{POSTGRES}&sslrootcert=plain"),
        ("CACHE", "rediss://127.0.0.1:1/0?ssl_ca_certs=plain"),
    ],
)
def test_a_file_without_certificates_is_named(folder: Path, setting: str, url: str) -> None:
    """If the file of certificate authorities holds none, the message names the setting, the option and the file."""
    keys = {f"PYCALC_{name.upper()}": value for name, value in KEYS.items()}
    line = last_line(folder, "serve", **keys, **{f"PYCALC_{setting}_URL": url})
    option = url.rpartition("?")[2].rpartition("&")[2].partition("=")[0]
    assert line == (
        f"pycalc: PYCALC_{setting}_URL: {option}: plain holds no certificate. Name a file of certificates in PEM form."
    )


@pytest.mark.parametrize(("file", "reason"), [("nowhere", "No such file or directory"), (".", "Is a directory")])
def test_an_unreadable_password_file_is_named(folder: Path, file: str, reason: str) -> None:
    """If ``--password-file`` can't be read, the message names the option, the file and the reason."""
    line = last_line(folder, *CREATE, file)
    assert line == f"pycalc: --password-file: {file} can't be read ({reason}). " + READ.format(user=os.geteuid())


def test_the_password_file_is_opened_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The password file is opened only once, because it may be a named pipe, which can be read only once."""
    (folder / "latin").write_bytes(b"\xff\n")
    opened: list[object] = []
    original = open

    def recording_open(file: Any, *arguments: Any, **options: Any) -> Any:
        opened.append(file)
        return original(file, *arguments, **options)

    monkeypatch.setattr("builtins.open", recording_open)
    monkeypatch.setattr("io.open", recording_open)
    with pytest.raises(ValueError, match="latin is not valid UTF-8"):
        create_admin("ada", "ada@example.com", Path("latin"))
    assert [str(file) for file in opened].count("latin") == 1


def test_a_file_that_another_process_made_is_named(folder: Path) -> None:
    """If creating a file in a folder fails because the file exists, the message names that file."""
    with pytest.raises(OSError, match=r"can't be used \(File exists, at .*/plain\)"), usable_folder("HOME", folder):
        (folder / "plain").touch(exist_ok=False)


@pytest.mark.parametrize("option", ["sslrootcert", "sslcert", "sslkey", "sslcrl"])
def test_a_folder_in_a_postgresql_url_is_named(folder: Path, option: str) -> None:
    """If a PostgreSQL URL names a folder in place of a TLS file, it is refused with the option and the reason."""
    with pytest.raises(ValueError, match=rf"{option}: \. can't be read \(Is a directory\)"):
        location_of(f"{POSTGRES}{'&sslcert=plain' * (option == 'sslkey')}&{option}=.")


@pytest.mark.parametrize("option", ["ssl.certificate.location", "ssl.key.location"])
def test_a_folder_in_a_kafka_url_is_named(folder: Path, option: str) -> None:
    """In a Kafka URL, the authorities may be a folder, but the client's certificate and key must be files."""
    with pytest.raises(ValueError, match=rf"{option}: \. can't be read \(Is a directory\)"):
        kafka_options(f"kafka+ssl://one:9093/events?ssl.ca.location=.&{option}=.", "")


def test_only_kafka_s_authorities_are_probed(folder: Path) -> None:
    """In a Kafka URL, ``probe`` means the system's authorities; as the client's key, it is the name of a file."""
    assert kafka_options("kafka+ssl://one:9093/events?ssl.ca.location=probe", "")
    with pytest.raises(ValueError, match=r"ssl\.key\.location: probe can't be read"):
        kafka_options("kafka+ssl://one:9093/events?ssl.key.location=probe", "")


def test_files_of_kafka_are_not_read_without_tls(folder: Path) -> None:
    """If a Kafka URL does not use TLS, its TLS files need not exist."""
    assert kafka_options("kafka://one:9092/events?ssl.ca.location=nowhere&ssl.key.location=nowhere", "")


@pytest.mark.parametrize(
    ("query", "option"),
    [
        ("sslmode=disable&sslcert=nowhere", "sslcert"),
        ("sslmode=require&sslkey=nowhere", "sslkey"),
        ("sslmode=require&sslrootcert=plain", "sslrootcert"),
        ("sslmode=verify_ca&sslcrl=nowhere", "sslcrl"),
    ],
)
def test_files_in_a_postgresql_url_are_checked(folder: Path, query: str, option: str) -> None:
    """Each TLS file in a PostgreSQL URL must exist and be of its kind, even if ``sslmode`` keeps it from being used."""
    with pytest.raises(ValueError, match=f"^{option}: "):
        location_of(f"postgresql://one/pycalc?{query}")
