"""The file of signing keys: read again while the service runs, and ignored while it is invalid."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from pycalc.observability.metrics import Metrics
from pycalc.services.accounts.signing_key_file import SigningKeyFile, read_keys
from tests.harness.virtual_time import in_virtual_time, now
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio

OLD, NEW = "o" * 32, "n" * 40


class Watched:
    """A watched key file, and the lists of keys that were reported."""

    def __init__(self, file: Path, *poll_seconds: float) -> None:
        self.file = file
        self.file.write_text(OLD + "\n")
        self.metrics = Metrics()
        self.replaced: list[Sequence[str]] = []
        self.changed = asyncio.Event()
        self.watcher = SigningKeyFile(file, (OLD,), self._replace, self.metrics, *poll_seconds)

    def _replace(self, keys: Sequence[str]) -> None:
        self.replaced.append(keys)
        self.changed.set()

    @property
    def unreadable(self) -> float | None:
        """Return the value of the metric for an unreadable key file."""
        return self.metrics.registry.get_sample_value("pycalc_key_file_unreadable")


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    """Watch a file with a short poll interval."""
    opened = Watched(tmp_path / "keys", 0.01)
    yield opened
    await opened.watcher.aclose()


async def test_new_keys_are_reported_once(watched: Watched) -> None:
    """Each change of the file, by writing or replacing it, is reported once, with the keys in their order."""
    watched.file.write_text(f"{NEW}\n{OLD}\n")
    await until(lambda: len(watched.replaced) == 1, "the new key")
    part = watched.file.with_name("part")
    part.write_text(f"\n  {NEW}  \n\n")
    part.rename(watched.file)
    await until(lambda: len(watched.replaced) == 2, "the old key's end")
    assert watched.replaced == [(NEW, OLD), (NEW,)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        b"short\n",
        f"{NEW}\nshort".encode(),
        b"\xff" * 32,
        None,
        f"# a short note on who made this key and when\n{NEW}\n".encode(),
        f"#{OLD}\n{NEW}\n".encode(),
        f"{NEW}\n{OLD} a short note\n".encode(),
        f"{NEW}\n{OLD}\t{NEW}\n".encode(),
    ],
)
async def test_what_is_no_key_file_changes_nothing(watched: Watched, content: bytes | None) -> None:
    """While the file is invalid, the previous keys stay in force; a metric and one log record report it."""
    with capture_logs() as logs:
        if content is None:
            watched.file.unlink()
        else:
            watched.file.write_bytes(content)
        await until(lambda: watched.unreadable == 1, "the metric")
        watched.file.write_text(NEW)
        await until(lambda: bool(watched.replaced), "the new key")
    assert watched.replaced == [(NEW,)]
    assert watched.unreadable == 0
    assert [entry["log_level"] for entry in logs] == ["error"]
    assert "short" not in logs[0]["problem"]


@pytest.mark.parametrize("content", ["", "k" * 31, f"{NEW}\nshort"])
def test_a_service_does_not_start_with_weak_keys(tmp_path: Path, content: str) -> None:
    """A weak key is refused at the start with a message that names file and requirement, and shows no key."""
    file = tmp_path / "keys"
    file.write_text(content)
    with pytest.raises(ValueError, match="32 characters") as refusal:
        read_keys(file)
    assert str(file) in str(refusal.value)
    assert not any(key in str(refusal.value) for key in content.split())


def test_a_comment_is_no_key(tmp_path: Path) -> None:
    """A comment in the file is refused, with a message that says what a line may contain."""
    file = tmp_path / "keys"
    file.write_text(f"# the key of the first quarter, made by hand\n{NEW}\n")
    with pytest.raises(ValueError, match="without spaces and comments"):
        read_keys(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """If the key file is missing, the start is refused with a message that names it."""
    with pytest.raises(ValueError, match=r"keys can't be read \(No such file or directory\); name a file"):
        read_keys(tmp_path / "keys")


@in_virtual_time
async def test_a_new_key_is_in_force_within_a_second(tmp_path: Path) -> None:
    """The file is read each second, so that a change is in force within a second."""
    began = now()
    watched = Watched(tmp_path / "keys")
    watched.file.write_text(NEW)
    await watched.changed.wait()
    assert now() - began == pytest.approx(1)
    await watched.watcher.aclose()
