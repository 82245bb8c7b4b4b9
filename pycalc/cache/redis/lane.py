"""One connection to Redis on which no command waits for another one's answer (ADR 20)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from pycalc.cache.redis.turn_clock import TurnClock
from pycalc.errors import AnswerLost, CacheUnavailable

Argument = bytes | str | int
Command = tuple[Argument, ...]
Reply = object

_TICKS = 20
"""A lane looks at its clocks so many times in the time that an answer may take: each is a tick."""
_TURN = 2.0
"""Ticks that count of a turn of the event loop: one that is busy itself must not take Redis for late."""
_CALM_TURN = 1.1
"""As that, where it is about being slow."""
_GIVEN_UP = 200
"""After so many ticks without the oldest answer nobody counts on it any more."""
_SLOW = 4.5
"""Ticks that answers may take on average.

A question is sent, and its answer read that was there all the time, within three turns of a busy event loop, or four.
"""
_WEIGHT = 1 / 8
"""Of the newest answer in the average, as in RFC 6298: one that is just not late makes no Redis slow."""
_LONG_BYTES = 64 * 1024
"""The time that a longer answer takes is the network's, for those behind it too."""


class Owner(Protocol):
    """Who is told how a lane fares."""

    def late(self) -> None:
        """An answer has not come in time: those who waited are gone, it may come yet."""
        ...

    def caught_up(self) -> None:
        """All answers have come that were late."""
        ...

    def slow(self) -> None:
        """The answers come in time, but take too long on average; this may close the lane."""
        ...

    def failed(self, reason: str) -> None:
        """The connection is of no use; this is expected to close the lane."""
        ...


class Connection(Protocol):
    """What is used of the driver's connection."""

    async def connect(self) -> None:
        """Connect, and say who is calling."""
        ...

    async def disconnect(self, *, nowait: bool) -> None:
        """Let go of the socket."""
        ...

    def pack_commands(self, commands: Iterable[Command]) -> list[bytes]:
        """Return the commands as they are sent."""
        ...

    async def send_packed_command(self, command: Sequence[bytes]) -> None:
        """Send what was packed."""
        ...

    async def read_response(self, *, disable_decoding: bool, disconnect_on_error: bool = True) -> Reply:
        """Return the next answer; raises what the server says is wrong.

        ``disconnect_on_error``: whether the connection ends when this is cancelled.
        """
        ...


class _Asked:
    """Commands that belong together, and what was answered to them so far."""

    __slots__ = ("answered", "born", "commands", "replies", "wanted")

    def __init__(self, commands: tuple[Command, ...], born: float) -> None:
        self.commands = commands
        self.wanted = len(commands)
        self.born = born
        self.replies: list[Reply] = []
        self.answered: asyncio.Future[list[Reply]] = asyncio.get_running_loop().create_future()


class Lane:
    """Sends what is asked in the same turn of the event loop together; answers come in the order of the questions."""

    def __init__(self, seconds: float, bound: int, refusal: Callable[[Exception], bool], owner: Owner) -> None:
        """An answer may take ``seconds``, and ``bound`` questions may wait for one.

        ``refusal`` says whether what the driver raises is about one command, which the server refuses; any other
        exception means that the connection is of no use.
        """
        self.slow = False
        """Whether the answers on this connection take too long on average; the first one alone is an average."""
        self._tick_seconds = seconds / _TICKS
        self._bound = bound
        self._refusal = refusal
        self._owner = owner
        self._late = False
        self._queued: deque[_Asked] = deque()
        self._sent: deque[_Asked] = deque()
        self._wanted = asyncio.Event()
        self._clock = TurnClock(_TURN * self._tick_seconds)
        self._calm_clock = TurnClock(_CALM_TURN * self._tick_seconds)
        self._tick_due = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._timed: _Asked | None = None
        self._timed_since = 0.0
        self._average: float | None = None
        self._runner: asyncio.Task[None] | None = None

    @property
    def opened(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._runner is not None

    def open(self, connection: Connection) -> None:
        """Use a connection from now on, and disconnect it in the end."""
        self._wanted.clear()
        self._timed = self._average = None
        self.slow = False
        self._runner = asyncio.get_running_loop().create_task(self._run(connection), name="cache lane")

    def submit(self, *commands: Command) -> asyncio.Future[list[Reply]]:
        """Return the future answers to commands; that to a refused one is the driver's exception.

        Raises CacheUnavailable, as the future does; AnswerLost where they were sent and their answer is late.
        """
        if self._runner is None:
            raise CacheUnavailable("The cache is not connected.")
        if self._late:
            raise CacheUnavailable("The cache does not answer in time.")
        if len(self._queued) + len(self._sent) >= self._bound:
            raise CacheUnavailable("The cache has too much to do.")
        asked = _Asked(commands, self._clock.now)
        self._queued.append(asked)
        self._wanted.set()
        if self._watch is None:
            self._clock.start()
            self._calm_clock.start()
            self._watch_on(asyncio.get_running_loop().time())
        return asked.answered

    def close(self, reason: str) -> None:
        """Tell all who wait that there will be no answer, and let go of the connection."""
        runner, self._runner = self._runner, None
        if runner is not None and runner is not asyncio.current_task():
            runner.cancel()
        self._dismiss(reason)
        self._sent.clear()
        self._late = False

    async def aclose(self) -> None:
        """Close the lane, and return when its connection is gone."""
        runner = self._runner
        self.close("The cache is closed.")
        if self._watch is not None:
            self._watch.cancel()
        if runner is not None:
            await asyncio.wait({runner})

    def _tick(self) -> None:
        """Look whether the oldest question has waited for too long."""
        self._watch = None
        self._calm_clock.look()
        clock = self._clock.look()
        waiting = self._sent or self._queued
        waited = (clock - waiting[0].born) / self._tick_seconds if waiting else 0.0
        if waited >= _GIVEN_UP:
            self._owner.failed("no answer")
            return
        if waited >= _TICKS and not self._late:
            self._late = True
            self._dismiss("The cache does not answer in time.")
            if self._sent:
                self._owner.late()
            else:
                self._owner.failed("commands can't be sent")
        if self._sent or self._queued:
            self._watch_on(max(self._tick_due, asyncio.get_running_loop().time() - self._tick_seconds))

    def _watch_on(self, since: float) -> None:
        """Have the next tick a while after a moment of the event loop's clock, or in its next turn if that is over."""
        self._tick_due = since + self._tick_seconds
        self._watch = asyncio.get_running_loop().call_at(self._tick_due, self._tick)

    def _dismiss(self, reason: str) -> None:
        """Tell all who wait that there will be no answer; to what was sent one may come yet."""
        sent = CacheUnavailable if self._runner is None else AnswerLost
        for waiting, error in ((self._sent, sent), (self._queued, CacheUnavailable)):
            for asked in waiting:
                if not asked.answered.done():
                    asked.answered.set_exception(error(reason))
        self._queued.clear()
        self._timed = None

    async def _run(self, connection: Connection) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send(connection))
                group.create_task(self._receive(connection))
        except* Exception as raised:
            first = raised.exceptions[0]
            self._owner.failed(str(first) or type(first).__name__)
        finally:
            await connection.disconnect(nowait=True)

    async def _send(self, connection: Connection) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            if self._queued:
                await connection.send_packed_command(self._packed(connection))

    def _packed(self, connection: Connection) -> list[bytes]:
        """Return what is queued as it is sent; nothing else holds on to it, for values are long."""
        if self._timed is None:
            self._timed, self._timed_since = self._queued[0], self._calm_clock.now
        commands: list[Command] = []
        for asked in self._queued:
            commands += asked.commands
            asked.commands = ()
        self._sent.extend(self._queued)
        self._queued.clear()
        return connection.pack_commands(commands)

    async def _receive(self, connection: Connection) -> None:
        while self._runner is not None:  # an answer may have closed the lane
            try:
                reply = await connection.read_response(disable_decoding=True)
            except Exception as error:
                if not self._refusal(error):
                    raise
                reply = error
            if not self._sent:
                raise RuntimeError("an answer to no question")
            if isinstance(reply, bytes) and len(reply) > _LONG_BYTES:
                self._timed = None
            asked = self._sent[0]
            asked.replies.append(reply)
            if len(asked.replies) == asked.wanted:
                self._sent.popleft()
                self._answer(asked)

    def _answer(self, asked: _Asked) -> None:
        if not asked.answered.done():  # else who asked has gone
            asked.answered.set_result(asked.replies)
        if self._late and not self._sent:
            self._late = False
            self._owner.caught_up()
        if asked is self._timed:
            self._timed = None
            self._weigh((self._calm_clock.now - self._timed_since) / self._tick_seconds)

    def _weigh(self, ticks: float) -> None:
        """Take a time into the average: one at a time, so that a single stall is not many slow answers."""
        before = ticks if self._average is None else self._average
        self._average = before + (ticks - before) * _WEIGHT
        self.slow = self._average > _SLOW
        if self.slow:
            self._owner.slow()
