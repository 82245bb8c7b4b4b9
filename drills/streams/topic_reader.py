"""A process that writes the events of a topic to a file, to be compared with the calculations.

``python -m drills.streams.topic_reader URL FILE`` writes a line for each delivery: the event's id and its user's id.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from tests.harness.waiting import wait_until

_GROUP = "drill"
_AGAIN_SECONDS = 0.2


class Topic:
    """The deliveries that the reader has written to its file so far, in the order of arrival."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def deliveries(self) -> Iterator[tuple[str, str]]:
        """Yield the event's id and the user's id of each delivery; skip an incomplete last line."""
        for line in self._file.read_text().rpartition("\n")[0].splitlines():
            event, _, user = line.partition(" ")
            yield event, user

    def missing(self, ids: Collection[str]) -> int:
        """Return how many of the events ``ids`` were not delivered yet."""
        return len(set(ids) - {event for event, _ in self.deliveries()})

    def repeated(self) -> int:
        """Return how many deliveries repeated an earlier event."""
        events = [event for event, _ in self.deliveries()]
        return len(events) - len(set(events))

    def overtaken(self) -> int:
        """Return how many events were first delivered after a later event of the same user.

        The comparison is by id, so it is valid only if a single process records: then ids grow in commit order.
        """
        newest: dict[str, str] = defaultdict(str)
        seen: set[str] = set()
        count = 0
        for event, user in self.deliveries():
            if event not in seen:
                seen.add(event)
                count += event < newest[user]
                newest[user] = max(newest[user], event)
        return count


@contextmanager
def topic_reader(url: str, file: Path) -> Iterator[Topic]:
    """Read the topic from its beginning in another process during the ``with`` block; yield its deliveries."""
    file.unlink(missing_ok=True)
    process = subprocess.Popen([sys.executable, "-m", "drills.streams.topic_reader", url, str(file)])
    try:
        wait_until(lambda: file.exists() or process.poll() is not None, "the reader has joined its group", 60)
        if not file.exists():
            raise AssertionError(f"the topic's reader ended with status {process.returncode}")
        yield Topic(file)
    finally:
        process.kill()
        process.wait()


async def _read(url: str, file: Path) -> None:
    from pycalc.errors import StreamUnavailable
    from pycalc.observability.metrics import Metrics
    from pycalc.streaming import open_stream

    stream = await open_stream(url, Metrics())
    while True:
        try:
            async with stream.consume(_GROUP) as member:
                with file.open("a") as lines:
                    while True:
                        batch = await member.receive()
                        _note(lines, [delivery.event for delivery in batch.deliveries])
                        await member.commit(batch)
        except StreamUnavailable:
            await asyncio.sleep(_AGAIN_SECONDS)


def _note(lines: TextIO, events: Collection[object]) -> None:
    from pycalc.models.events import Event
    from pycalc.models.ids import text_of_id

    for event in events:
        if isinstance(event, Event):
            lines.write(f"{text_of_id(event.id)} {text_of_id(event.key)}\n")
    lines.flush()


if __name__ == "__main__":
    import logging

    from pycalc.observability.logging import configure_logging

    configure_logging(logging.CRITICAL)
    asyncio.run(_read(sys.argv[1], Path(sys.argv[2])))
