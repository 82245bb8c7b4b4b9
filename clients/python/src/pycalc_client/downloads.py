"""Downloads of digits: how much has arrived, how to resume, and the file that they are written to."""

from __future__ import annotations

import base64
import os
import re
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from time import monotonic

import httpx

from pycalc_client.errors import DigestMismatch, UnexpectedAnswer

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/=]+):")
_READ = 1024 * 1024
_PROGRESS_SECONDS = 0.2


class Transfer:
    """The state of a download: its position, and the length, ETag and digest that the service has stated.

    The digits of a calculation never change, so a download may be resumed at any later time.
    """

    def __init__(self, stated_sha256: str | None = None) -> None:
        self.position = 0
        self.total: int | None = None
        self._etag: str | None = None
        self._stated = stated_sha256
        self._hash = sha256()
        self._skip = 0

    @property
    def complete(self) -> bool:
        """Return whether all bytes have arrived."""
        return self.position == self.total

    def headers(self) -> dict[str, str]:
        """Return the header fields of the next request, which asks for the missing bytes."""
        fields = {"Accept": "text/plain", "Accept-Encoding": "identity"}
        if self.position:
            fields["Range"] = f"bytes={self.position}-"
            if self._etag is not None:
                fields["If-Range"] = self._etag
        return fields

    def begin(self, response: httpx.Response) -> None:
        """Read a response's header fields. ``take`` will skip the bytes of its body that were received before."""
        part = _RANGE.fullmatch(response.headers.get("content-range", ""))
        first, self.total = 0, int(response.headers.get("content-length", -1))
        if response.status_code == httpx.codes.PARTIAL_CONTENT:
            if part is None or int(part[1]) > self.position:
                raise UnexpectedAnswer("The service sent another range than the one that was asked for.")
            first, self.total = int(part[1]), int(part[2])
        if self.total < 0:
            self.total = None
        self._skip = self.position - first
        self._etag = response.headers.get("etag")
        if self._stated is None:
            found = _DIGEST.search(response.headers.get("repr-digest", ""))
            self._stated = base64.b64decode(found[1]).hex() if found else None

    def take(self, data: bytes) -> bytes:
        """Count and hash the next bytes of a response; return those that were not received earlier."""
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        new = data[skipped:]
        self._hash.update(new)
        self.position += len(new)
        return new

    def end(self) -> None:
        """Note that the response ended properly.

        If it did not state its length, the download is complete.
        """
        if self.total is None:
            self.total = self.position

    def verify(self) -> None:
        """Raise DigestMismatch if the service stated a SHA-256 and the bytes have another one."""
        if self._stated is not None and self._hash.hexdigest() != self._stated:
            raise DigestMismatch(f"The digits have the SHA-256 {self._hash.hexdigest()}, not {self._stated}.")


class PartFile:
    """A file that gets its final name when it is complete.

    Until then its name is the final name, followed by the calculation's id and ``.part``. After a crash, the next
    download of this calculation to the same path continues the file.
    """

    def __init__(self, path: Path, calculation_id: str, transfer: Transfer) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.{calculation_id}.part")
        self._file = self._part.open("a+b")
        # A requested range must not be empty, so at least the last byte is requested again.
        self._file.truncate(max(0, self._file.seek(0, os.SEEK_END) - 1))
        self._file.seek(0)
        while data := self._file.read(_READ):
            transfer.take(data)

    def write(self, data: bytes) -> None:
        """Append data."""
        self._file.write(data)

    def finish(self) -> None:
        """Sync the complete file to the disk, then give it its final name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self._path)

    def close(self) -> None:
        """Close the file, and delete it if it is empty. An incomplete file keeps its temporary name."""
        self._file.close()
        if self._part.exists() and self._part.stat().st_size == 0:
            self._part.unlink()

    def discard(self) -> None:
        """Close the file and delete it, because its bytes are wrong."""
        self._file.close()
        self._part.unlink()


class Progress:
    """The progress of a download: shown on standard error, passed to a given function, or not reported.

    The function is called with the number of bytes received, and with the total, which is None if it is unknown.
    """

    def __init__(self, show: bool | Callable[[int, int | None], None]) -> None:
        self._show = (_show_on_terminal if show else None) if isinstance(show, bool) else show
        self._next = 0.0

    def update(self, transfer: Transfer) -> None:
        """Report the position of the download, at most a few times a second, and always at the end."""
        if self._show is not None and (transfer.complete or monotonic() >= self._next):
            self._next = monotonic() + _PROGRESS_SECONDS
            self._show(transfer.position, transfer.total)


def _show_on_terminal(position: int, total: int | None) -> None:
    share = f" of {total / 1e6:.1f} MB, {position / total:.0%}" if total else " MB"
    sys.stderr.write(f"\r{position / 1e6:.1f}{share} " + ("\n" if position == total else ""))
    sys.stderr.flush()


def write_text(path: Path, text: str) -> None:
    """Write a text to a file that gets its final name when it is complete."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text)
    part.replace(path)
