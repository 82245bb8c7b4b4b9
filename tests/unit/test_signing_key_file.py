"""The file of the signing keys: read again while the service runs, and never believed when it is not whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from pycalc.observability.metrics import Metrics
from pycalc.services.accounts.signing_key_file import SigningKeyFile, read_keys
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio

OLD, NEW = "o" * 32, "n" * 40


class Watched:
    """A key file, and the keys that it told of."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.file.write_text(OLD + "\n")
        self.metrics = Metrics()
        self.told: list[Sequence[str]] = []
        self.watcher = SigningKeyFile(file, (OLD,), self.told.append, self.metrics, poll_seconds=0.01)

    @property
    def unreadable(self) -> float | None:
        """What the metric says."""
        return self.metrics.registry.get_sample_value("pycalc_key_file_unreadable")


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    """Watch a file, a hundred times as often as a service does."""
    opened = Watched(tmp_path / "keys")
    yield opened
    await opened.watcher.aclose()


async def test_new_keys_are_told_once(watched: Watched) -> None:
    """In their order, whether the file was written or replaced, and not before they change."""
    watched.file.write_text(f"{NEW}\n{OLD}\n")
    await until(lambda: len(watched.told) == 1, "the new key")
    part = watched.file.with_name("part")
    part.write_text(f"\n  {NEW}  \n\n")
    part.rename(watched.file)
    await until(lambda: len(watched.told) == 2, "the old key's end")
    assert watched.told == [(NEW, OLD), (NEW,)]


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
    """The keys in force stay, one line of the log and a metric say so; the next good content counts."""
    with capture_logs() as logs:
        if content is None:
            watched.file.unlink()
        else:
            watched.file.write_bytes(content)
        await until(lambda: watched.unreadable == 1, "the metric")
        watched.file.write_text(NEW)
        await until(lambda: bool(watched.told), "the new key")
    assert watched.told == [(NEW,)]
    assert watched.unreadable == 0
    assert [entry["log_level"] for entry in logs] == ["error"]
    assert "short" not in logs[0]["problem"]


@pytest.mark.parametrize("content", ["", "k" * 31, f"{NEW}\nshort"])
def test_a_service_does_not_start_with_weak_keys(tmp_path: Path, content: str) -> None:
    """The refusal names the file and what it needs, and shows no key."""
    file = tmp_path / "keys"
    file.write_text(content)
    with pytest.raises(ValueError, match="32 characters") as refusal:
        read_keys(file)
    assert str(file) in str(refusal.value)
    assert "kkk" not in str(refusal.value)


def test_a_comment_is_no_key(tmp_path: Path) -> None:
    """The refusal says what a line may hold."""
    file = tmp_path / "keys"
    file.write_text(f"# the key of the first quarter, made by hand\n{NEW}\n")
    with pytest.raises(ValueError, match="without spaces and comments"):
        read_keys(file)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    """What is wrong, and with which file."""
    with pytest.raises(ValueError, match=r"keys can't be read: FileNotFoundError"):
        read_keys(tmp_path / "keys")
