"""A calculation with its result."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from io import StringIO
from os import PathLike
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import httpx

from pycalc_client._async.session import AsyncSession
from pycalc_client.calls import Call
from pycalc_client.downloads import PartFile, Progress, Transfer, write_text
from pycalc_client.errors import DigestMismatch, RangeNotSatisfiable
from pycalc_client.numbers import text_of, value_of
from pycalc_client.primitives import async_load_now, async_run, async_sleep
from pycalc_client.retries import Attempts

V_co = TypeVar("V_co", covariant=True)

_LONGEST_SHOWN = 60  # characters of a result in repr()
_LONGEST_END = 20  # characters of each end, when a longer result is shortened


@dataclass(frozen=True, repr=False)
class AsyncCalculation(Generic[V_co]):
    """A calculation that the service has recorded.

    ``digits`` counts the digits of the result. ``exact`` is false if the result is rounded to a precision, or is a root
    with a remainder. ``cached`` is true if an earlier calculation computed the result, and ``elapsed_ms`` is the
    service's time in milliseconds. ``input`` holds the operands and options in canonical form, integers beyond
    ±(2^53 - 1) as texts. A calculation from the history also has ``user``, ``created_at``, ``leading`` and ``trailing``
    (up to 20 digits each). It has ``sha256``, the digest of the result's text, unless only a summary was computed. The
    answer to a request for a summary also has ``leading`` and ``trailing``.
    """

    id: str
    operation: str
    input: Mapping[str, int | str] = field(hash=False)
    digits: int
    exact: bool
    cached: bool
    elapsed_ms: float
    leading: str | None = None
    trailing: str | None = None
    sha256: str | None = None
    user: str | None = None
    created_at: datetime | None = None
    _session: AsyncSession | None = field(default=None, compare=False)
    _held: list[str] = field(default_factory=list, compare=False)  # the text of the result, when it is in memory

    @property
    def text(self) -> str:
        """Return the result's text: bare digits, a fraction ``p/q``, a decimal, or JSON.

        Long results are usually not in memory at first: answers of more than a megabyte, and calculations from the
        history with more than 1,000 digits. The synchronous client downloads them at the first use. The asynchronous
        client raises NotLoaded: call ``load`` first. A summary has no text, so its download raises NotFound.
        """
        return self._held[0] if self._held else async_load_now(self.load)

    @cached_property
    def result(self) -> V_co:
        """Return the result as a number, a bool, a list of Factor, or an IntegerRoot; converted at the first use.

        A million digits take about a second to convert; ``text`` and ``save`` convert nothing.
        """
        return cast("V_co", value_of(self.text, exact=self.exact, base=int(self.input.get("base", 10))))

    async def load(self) -> str:
        """Return the text of the result, downloaded if it is not in memory."""
        if not self._held:
            text = StringIO()
            async for part in self.iter_text():
                text.write(part)
            self._held.append(text.getvalue())
        return self._held[0]

    async def iter_text(self) -> AsyncGenerator[str]:
        """Yield the result's text in parts. Resume after a lost connection, and verify the digest at the end."""
        if self._held:
            yield self._held[0]
            return
        transfer = Transfer(self.sha256)
        async for data in self._download(transfer):
            yield data.decode("ascii")

    async def save(
        self, path: str | PathLike[str], *, progress: bool | Callable[[int, int | None], None] = False
    ) -> Path:
        """Write the result's text to a file, and return its path.

        A result that is not in memory is downloaded in parts. After a lost connection, the download continues at the
        same position. After a crash, it continues if the same calculation is saved to the same path again. The file
        gets its final name once the digest is verified. ``progress=True`` shows the download's progress on standard
        error. A function as ``progress`` is called with the number of bytes received so far, and with the total,
        which is None if it is unknown.
        """
        target = Path(path)
        if self._held:
            await async_run(write_text, target, self._held[0])
            return target
        transfer, shown = Transfer(self.sha256), Progress(progress)
        part = await async_run(PartFile, target, self.id, transfer)
        try:
            async for data in self._download(transfer):
                await async_run(part.write, data)
                shown.update(transfer)
            await async_run(part.finish)
        except (DigestMismatch, RangeNotSatisfiable):
            part.discard()
            raise
        finally:
            part.close()
        return target

    def __repr__(self) -> str:
        result = self._held[0] if self._held else f"{self.leading}...{self.trailing}"
        if len(result) > _LONGEST_SHOWN:
            result = f"{result[:_LONGEST_END]}...{result[-_LONGEST_END:]}"
        return (
            f"{type(self).__name__}(result={result}, exact={self.exact}, digits={self.digits}, "
            f"operation={self.operation!r}, input={dict(self.input)}, cached={self.cached}, "
            f"elapsed_ms={self.elapsed_ms}, id={self.id!r})"
        )

    async def _download(self, transfer: Transfer) -> AsyncGenerator[bytes]:
        """Yield the bytes that ``transfer`` lacks; resume after a lost connection; verify the digest at the end."""
        session = self._session
        if session is None:
            raise ValueError("The calculation does not belong to a client.")
        attempts = Attempts(session.policy)
        while not transfer.complete:
            failure: httpx.TransportError | None = None
            call = Call("GET", f"/calculations/{self.id}/digits", headers=transfer.headers())
            response = await session.open(call, attempts)
            try:
                transfer.begin(response)
                async for data in response.aiter_raw():
                    yield transfer.take(data)
                    attempts.progressed()  # counted after the yield, because the caller may take long
                transfer.end()
            except httpx.TransportError as error:
                failure = error
            finally:
                await response.aclose()
            if failure is not None:
                await async_sleep(attempts.wait(failure, repeatable=True))
        transfer.verify()


def async_calculation_of(session: AsyncSession, item: Mapping[str, Any]) -> AsyncCalculation[Any]:
    """Return a calculation from the JSON of an answer or of a history item."""
    created_at, result = item.get("created_at"), item.get("result")
    return AsyncCalculation(
        id=item["id"],
        operation=item["operation"],
        input=item["input"],
        digits=int(item["digits"]),
        exact=item["exact"],
        cached=item["cached"],
        elapsed_ms=item["elapsed_ms"],
        leading=item.get("leading"),
        trailing=item.get("trailing"),
        sha256=item.get("sha256"),
        user=item.get("user"),
        created_at=None if created_at is None else datetime.fromisoformat(created_at),
        _session=session,
        _held=[] if result is None else [text_of(result)],
    )
