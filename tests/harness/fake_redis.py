"""A fake Redis in a thread of the test's process: RESP 2, real Lua, expiry, eviction and pub/sub.

It implements the commands that the service and its tests use. In tests, ``FakeRedis`` can take the place of
``tests.harness.redis.Redis``.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from hashlib import sha1
from time import monotonic
from typing import Any

from hiredis import ProtocolError, Reader
from lupa.lua51 import LuaError, LuaRuntime

from tests.harness.servers import free_port

_WAIT_SECONDS = 15.0
# Iterations of the event loop in which an ending server closes its connections.
_ROUNDS = 10
# Commands that wait during ``CLIENT PAUSE ... WRITE``.
_WRITES = {b"SET", b"DEL", b"INCRBY", b"EXPIRE", b"PEXPIRE", b"LPUSH", b"FLUSHALL", b"EVAL", b"EVALSHA", b"PUBLISH"}
# Commands that a server without free memory refuses.
_GROWING = {b"SET", b"INCRBY", b"LPUSH"}
# Redis passes a null reply to a script as false, whereas lupa would convert Python's None to nil.
_LUA_CALL = b"""
return function(call)
    return function(...) local reply = call(...) if reply == nil then return false end return reply end
end
"""


class _Refusal(Exception):
    """An error reply."""


class _Status(str):
    """A simple string reply, such as OK."""


_OK = _Status("OK")


class FakeRedis:
    """A Redis that keeps everything in memory until it stops."""

    def __init__(self, max_bytes: int = 0) -> None:
        """Limit the memory: beyond ``max_bytes`` the least recently used keys are evicted; 0 means no limit."""
        self.port = free_port()
        self._max_bytes = max_bytes
        self._full = False
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None
        self._going_on = threading.Event()
        self._clear()

    def _clear(self) -> None:
        self._values: OrderedDict[bytes, bytes | list[bytes]] = OrderedDict()
        self._deadlines: dict[bytes, float] = {}
        self._scripts: dict[bytes, bytes] = {}
        self._writes_paused = False
        self.clients: set[_Client] = set()
        self.stats = {"total_commands_processed": 0, "total_connections_received": 0, "total_reads_processed": 0}

    @property
    def url(self) -> str:
        """Return the URL of the first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    def results(self, namespace: str) -> list[bytes]:
        """Return the keys of the cached results in a namespace."""
        found: list[bytes] = self._in_thread(lambda: self._keys(f"{namespace}:result:*".encode()))
        return found

    def start(self) -> None:
        """Start the server, and return when it accepts connections."""
        listening = threading.Event()

        async def serve() -> None:
            self._stopping = asyncio.Event()
            server = await self._loop.create_server(lambda: _Client(self), "127.0.0.1", self.port)
            listening.set()
            await self._stopping.wait()
            server.close()
            for _ in range(_ROUNDS):
                for client in [*self.clients]:
                    client.transport.abort()
                # Let the loop finish accepting pending connections, and closing the sockets of aborted ones.
                await asyncio.sleep(0)
            await server.wait_closed()

        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(serve(),), daemon=True)
        self._thread.start()
        assert listening.wait(_WAIT_SECONDS), "the fake Redis did not start"

    def stop(self) -> None:
        """End the server, its connections and its data, if it is running."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self.resume()
            self._loop.call_soon_threadsafe(lambda: self._stopping.set())
            thread.join(_WAIT_SECONDS)
            assert not thread.is_alive(), "the fake Redis did not stop"
            self._clear()

    def kill(self) -> None:
        """Stop the server; the fake has no harder way to end it than ``stop``."""
        self.stop()

    def pause(self) -> None:
        """Suspend the server: it keeps its connections and answers nothing."""
        self._going_on.clear()
        hanging = threading.Event()

        def hang() -> None:
            hanging.set()
            self._going_on.wait()

        self._loop.call_soon_threadsafe(hang)
        assert hanging.wait(_WAIT_SECONDS), "the fake Redis does not hang"

    def resume(self) -> None:
        """Continue the paused server."""
        self._going_on.set()

    def close(self) -> None:
        """Stop the server for good."""
        self.stop()
        self._loop.close()

    def _in_thread(self, call: Callable[[], Any]) -> Any:
        async def called() -> Any:
            return call()

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(_WAIT_SECONDS)

    def held_back(self, command: bytes) -> bool:
        """Return whether a command must wait because CLIENT PAUSE has suspended write commands."""
        return self._writes_paused and command in _WRITES

    def execute(self, client: _Client, command: list[bytes]) -> object:
        """Execute a command, and return its reply; an error reply is a _Refusal."""
        name, *arguments = command
        self.stats["total_commands_processed"] += 1
        try:
            return self._call(name.upper(), arguments, client)
        except _Refusal as refusal:
            return refusal

    def _call(self, name: bytes, arguments: list[bytes], client: _Client | None = None) -> object:
        handler = getattr(self, f"_do_{name.decode(errors='replace').lower()}", None)
        if handler is None:
            raise _Refusal(f"ERR unknown command {name!r}")
        if self._full and name in _GROWING:
            raise _Refusal("OOM command not allowed when used memory > 'maxmemory'.")
        try:
            return handler(client, *arguments) if name in (b"SUBSCRIBE", b"CLIENT") else handler(*arguments)
        except (TypeError, ValueError):
            raise _Refusal(f"ERR wrong arguments for {name!r}") from None

    def _alive(self, key: bytes) -> bytes | list[bytes] | None:
        """Return a key's value and mark it as used; return None if it is missing or expired."""
        if self._deadlines.get(key, monotonic() + 1) <= monotonic():
            self._drop(key)
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def _string(self, key: bytes) -> bytes | None:
        value = self._alive(key)
        if isinstance(value, list):
            raise _Refusal("WRONGTYPE Operation against a key holding the wrong kind of value")
        return value

    def _drop(self, key: bytes) -> bool:
        self._deadlines.pop(key, None)
        return self._values.pop(key, None) is not None

    def _keep(self, key: bytes, value: bytes | list[bytes]) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        while self._max_bytes and sum(len(name) + len(self._values[name]) for name in self._values) > self._max_bytes:
            self._drop(next(iter(self._values)))

    def _keys(self, pattern: bytes) -> list[bytes]:
        glob = pattern.decode("latin-1")
        alive = [key for key in [*self._values] if self._alive(key) is not None]
        return [key for key in alive if fnmatchcase(key.decode("latin-1"), glob)]

    def _do_ping(self) -> object:
        return _Status("PONG")

    def _do_hello(self, protocol: bytes, *_options: bytes) -> object:
        return {b"server": b"redis", b"version": b"7.4.0", b"proto": int(protocol)}

    def _do_echo(self, text: bytes) -> object:
        return text

    def _do_select(self, _number: bytes) -> object:
        return _OK

    def _do_get(self, key: bytes) -> object:
        return self._string(key)

    def _do_strlen(self, key: bytes) -> object:
        return len(self._string(key) or b"")

    def _do_set(self, key: bytes, value: bytes, option: bytes = b"", amount: bytes = b"0") -> object:
        self._drop(key)
        if option.upper() in (b"PX", b"EX"):
            self._live(key, int(amount) / (1000 if option.upper() == b"PX" else 1))
        self._keep(key, value)
        return _OK

    def _do_del(self, *keys: bytes) -> object:
        return sum(self._alive(key) is not None and self._drop(key) for key in keys)

    def _do_incrby(self, key: bytes, amount: bytes) -> object:
        count = int(self._string(key) or 0) + int(amount)
        self._keep(key, b"%d" % count)
        return count

    def _do_expire(self, key: bytes, seconds: bytes) -> object:
        return self._live(key, int(seconds)) if self._alive(key) is not None else 0

    def _do_pexpire(self, key: bytes, milliseconds: bytes) -> object:
        return self._live(key, int(milliseconds) / 1000) if self._alive(key) is not None else 0

    def _live(self, key: bytes, seconds: float) -> int:
        self._deadlines[key] = monotonic() + seconds
        return 1

    def _do_pttl(self, key: bytes) -> object:
        if self._alive(key) is None:
            return -2
        return int((self._deadlines[key] - monotonic()) * 1000) if key in self._deadlines else -1

    def _do_lpush(self, key: bytes, *items: bytes) -> object:
        value = self._alive(key) or []
        if not isinstance(value, list):
            raise _Refusal("WRONGTYPE Operation against a key holding the wrong kind of value")
        self._keep(key, [*reversed(items), *value])
        return len(items) + len(value)

    def _do_keys(self, pattern: bytes) -> object:
        return self._keys(pattern)

    def _do_dbsize(self) -> object:
        return len(self._keys(b"*"))

    def _do_flushall(self) -> object:
        self._values.clear()
        self._deadlines.clear()
        return _OK

    def _do_info(self, _section: bytes) -> object:
        return "".join(f"{name}:{value}\r\n" for name, value in self.stats.items()).encode()

    def _do_config(self, action: bytes, name: bytes, value: bytes) -> object:
        if (action.upper(), name) != (b"SET", b"maxmemory"):
            raise _Refusal("ERR this fake has no such configuration")
        self._full = value != b"0"
        return _OK

    def _do_client(self, client: _Client, action: bytes, *arguments: bytes) -> object:
        match action.upper(), arguments:
            case b"LIST", ():
                return b"".join(b"id=%d\n" % id(each) for each in self.clients)
            case b"PAUSE", (_, b"WRITE"):
                self._writes_paused = True
            case b"UNPAUSE", ():
                self._writes_paused = False
                for each in self.clients:
                    self._loop.call_soon(each.go_on)
            case b"SETINFO", _:
                pass
            case _:
                raise _Refusal("ERR this fake has no such action")
        return _OK

    def _do_publish(self, channel: bytes, message: bytes) -> object:
        listening = [client for client in self.clients if channel in client.channels]
        for client in listening:
            client.send([b"message", channel, message])
        return len(listening)

    def _do_subscribe(self, client: _Client, channel: bytes) -> object:
        client.channels.add(channel)
        return [b"subscribe", channel, len(client.channels)]

    def _do_script(self, action: bytes, *scripts: bytes) -> object:
        match action.upper(), scripts:
            case b"FLUSH", ():
                self._scripts.clear()
                return _OK
            case b"LOAD", (script,):
                digest = sha1(script, usedforsecurity=False).hexdigest().encode()
                self._scripts[digest] = script
                return digest
        raise _Refusal("ERR this fake has no such action")

    def _do_evalsha(self, digest: bytes, count: bytes, *arguments: bytes) -> object:
        if digest not in self._scripts:
            raise _Refusal("NOSCRIPT No matching script. Please use EVAL.")
        return self._do_eval(self._scripts[digest], count, *arguments)

    def _do_eval(self, script: bytes, count: bytes, *arguments: bytes) -> object:
        self._scripts[sha1(script, usedforsecurity=False).hexdigest().encode()] = script
        lua = LuaRuntime(encoding=None, register_eval=False, register_builtins=False)
        refused: list[_Refusal] = []

        def call(name: bytes, *given: object) -> object:
            try:
                return to_lua(self._call(name.upper(), [_bytes(argument) for argument in given]))
            except _Refusal as refusal:
                refused.append(refusal)
                raise

        def to_lua(reply: object) -> object:
            match reply:
                case _Status():
                    return lua.table_from({b"ok": reply.encode()})
                case list():
                    return lua.table_from([to_lua(item) for item in reply])
            return reply

        redis = {
            b"call": lua.execute(_LUA_CALL)(call),
            b"sha1hex": lambda text: sha1(text, usedforsecurity=False).hexdigest().encode(),
        }
        keys, rest = arguments[: int(count)], arguments[int(count) :]
        for name, value in (("redis", redis), ("KEYS", [*keys]), ("ARGV", [*rest])):
            lua.globals()[name.encode()] = lua.table_from(value)
        try:
            return _from_lua(lua.execute(script))
        except LuaError as error:
            raise _Refusal(f"ERR {error}".replace("\n", " ")) from None
        except _Refusal:
            raise refused[0] from None


def _bytes(argument: object) -> bytes:
    """Convert an argument of ``redis.call`` as Redis does."""
    if isinstance(argument, float):
        return b"%d" % argument if argument.is_integer() else repr(argument).encode()
    return argument if isinstance(argument, bytes) else str(argument).encode()


def _from_lua(value: Any) -> object:
    """Convert a script's result to a reply: false becomes null, true becomes 1, a number is truncated."""
    if value is None or value is False:
        return None
    if isinstance(value, bool | int | float):
        return int(value)
    if isinstance(value, bytes):
        return value
    if b"ok" in [*value]:
        return _Status(value[b"ok"].decode())
    return [_from_lua(value[number]) for number in range(1, len(value) + 1)]


def _encoded(reply: object) -> bytes:
    """Encode a reply as RESP 2, or a dict as a map of RESP 3."""
    match reply:
        case _Refusal():
            return f"-{reply}\r\n".encode()
        case _Status():
            return f"+{reply}\r\n".encode()
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case int():
            return b":%d\r\n" % reply
        case list():
            return b"*%d\r\n" % len(reply) + b"".join(map(_encoded, reply))
        case dict():  # only in the answer to HELLO, which asks for RESP 3; other replies are the same in RESP 2
            return b"%%%d\r\n" % len(reply) + b"".join(_encoded(part) for pair in reply.items() for part in pair)
    return b"$-1\r\n"


class _Client(asyncio.Protocol):
    """A client's connection."""

    transport: asyncio.Transport

    def __init__(self, server: FakeRedis) -> None:
        self._server = server
        self._reader = Reader()
        self._waiting: deque[list[bytes]] = deque()
        self.channels: set[bytes] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server.clients.add(self)
        self._server.stats["total_connections_received"] += 1

    def connection_lost(self, _error: Exception | None) -> None:
        self._server.clients.discard(self)

    def data_received(self, data: bytes) -> None:
        self._server.stats["total_reads_processed"] += 1
        self._reader.feed(data)
        try:
            while (command := self._reader.gets()) is not False:
                self._waiting.append(command)
        except ProtocolError:
            self.transport.abort()
            return
        self.go_on()

    def go_on(self) -> None:
        """Execute the client's waiting commands in order, up to the first one that CLIENT PAUSE suspends."""
        while self._waiting and not self._server.held_back(self._waiting[0][0].upper()):
            self.send(self._server.execute(self, self._waiting.popleft()))

    def send(self, reply: object) -> None:
        """Send an encoded reply."""
        self.transport.write(_encoded(reply))


@contextmanager
def fake_redis(max_bytes: int = 0) -> Iterator[FakeRedis]:
    """Run a fake Redis on a free port."""
    server = FakeRedis(max_bytes)
    server.start()
    try:
        yield server
    finally:
        server.close()
