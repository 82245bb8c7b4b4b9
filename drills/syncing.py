"""A drill that traces system calls: a calculation is answered only after its row is synced to the disk.

The trace shows the row's id twice: in the page written to the write-ahead log, and in the answer.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from drills.support.finding import Finding, faults
from drills.support.load import Ledger, Load
from tests.harness.servers import log_in, pycalc

_SENDING = ("write", "writev", "sendto", "sendmsg")
_TRACED = f"trace=fdatasync,fsync,pwrite64,{','.join(_SENDING)}"
_LINE = re.compile(r"(?P<pid>\d+) +(?P<time>[\d.]+) (?:<\.\.\. )?(?P<name>\w+)(?P<rest>.*)")
_RETURNED = re.compile(r"= (?P<value>-?\d+).*<(?P<seconds>[\d.]+)>$")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"\(\d+<((?:\\x[0-9a-f]{2})*)>")
_IDENTITY = re.compile(rb'"id":"([0-9a-f-]{36})"')


class Call(NamedTuple):
    """A system call that has returned."""

    name: str
    # The file of the call's descriptor.
    file: bytes
    data: bytes
    began: float
    ended: float
    value: int


def calls(trace: Iterable[str]) -> Iterator[Call]:
    """Yield the system calls in the output of ``strace -f -ttt -T -y -xx``, in the order of their return."""
    unfinished: dict[str, tuple[float, str]] = {}
    for line in trace:
        found = _LINE.match(line)
        if found is None:
            continue
        pid, moment, rest = found["pid"], float(found["time"]), found["rest"]
        if rest.endswith("<unfinished ...>"):
            unfinished[pid] = moment, rest
            continue
        returned = _RETURNED.search(rest)
        if returned is None:
            continue
        if "<... " in line[:60]:
            began, before = unfinished.pop(pid)
            rest, ended = before + rest, moment
        else:
            began, ended = moment, moment + float(returned["seconds"])
        descriptor = _DESCRIPTOR.match(rest)
        file = _bytes(descriptor[1]) if descriptor else b""
        data = b"".join(map(_bytes, _STRING.findall(rest)))
        yield Call(found["name"], file, data, began, ended, int(returned["value"]))


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


class Order(NamedTuple):
    """The order of syncs and answers in a trace."""

    answers: int
    # Answers sent before the sync of their row returned, or without such a sync.
    early: int
    syncs: int
    # The shortest time in seconds from the return of a row's sync to the sending of its answer; negative if early.
    nearest: float


def order_of(traced: Sequence[Call]) -> Order:
    """Count the answers, and those that were sent before the sync of their row had returned.

    Rows are written in the order of their ids, so the search for a row begins where the previous row was found.
    """
    log = [call for call in traced if call.file.endswith(b"-wal")]
    left = {
        identity.decode(): call.began
        for call in traced
        if call.name in _SENDING and call.data.startswith(b"HTTP/1.1 200")
        for identity in _IDENTITY.findall(call.data)
    }
    margins, place = [], 0
    for identity, moment in sorted(left.items()):
        row = uuid.UUID(identity).bytes
        place = next((index for index in range(place, len(log)) if row in log[index].data), len(log))
        synced = (call.ended for call in log[place + 1 :] if _is_sync(call) and call.began >= log[place].ended)
        margins.append(moment - next(synced, float("inf")))
    early = sum(margin < 0 for margin in margins)
    return Order(len(margins), early, sum(map(_is_sync, log)), min(margins, default=0.0))


def _is_sync(call: Call) -> bool:
    return call.name in ("fdatasync", "fsync") and call.value == 0


def syncing(seconds: float = 10.0) -> Finding:
    """Trace a server's system calls under load for ``seconds`` seconds."""
    ledger = Ledger()
    with TemporaryDirectory(prefix="drill-") as folder:
        trace = Path(folder) / "trace"
        strace = ("strace", "-D", "-f", "-ttt", "-T", "-y", "-xx", "-s", "100000", "-e", _TRACED, "-o", str(trace))
        with pycalc(data=Path(folder), prefix=strace) as server:
            load = Load(ledger, log_in(server), patient=False)
            asyncio.run(_under_load(load, server.port, seconds))
        with trace.open() as lines:
            order = order_of(list(calls(lines)))
    return Finding(
        "strace of the commit",
        "each answer was sent after its row was synced to the disk",
        {
            "calculations answered": order.answers,
            "syncs of the log": order.syncs,
            "nearest ms": order.nearest * 1000,
        },
        faults(
            too_early=order.early,
            not_in_the_trace=len(ledger.acknowledged()) - order.answers,
            nothing_answered=not order.answers,
        ),
    )


def missing() -> str | None:
    """Return a message if strace, which this drill needs, is not installed; otherwise None."""
    return None if shutil.which("strace") else "strace is not installed"


async def _under_load(load: Load, port: int, seconds: float) -> None:
    async with load.on(port):
        await asyncio.sleep(seconds)
