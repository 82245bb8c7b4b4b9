"""Start and end of the MCP endpoint, which language models call."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from pycalc.errors import Unavailable
from pycalc.mcp import endpoint
from pycalc.mcp.endpoint import McpEndpoint

pytestmark = pytest.mark.anyio


class Manager:
    """A session manager that answers every request with its path."""

    def run(self) -> Manager:
        """Return the context manager of a running session manager."""
        return self

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *_: object) -> None:
        pass

    async def handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send one ASGI message with the request's path as its ``type``, which tests can read."""
        await send({"type": scope["path"]})


async def receive() -> Message:
    """Fail, because no message should be read."""
    raise AssertionError


async def test_a_failed_start_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the start fails, the request is refused with Unavailable, and the next request tries again.

    After a successful start, later requests use the running endpoint.
    """
    imports: list[str] = []

    def imported(name: str) -> Any:
        imports.append(name)
        if len(imports) == 1:
            raise ImportError(name)
        return SimpleNamespace(session_manager=lambda most_inline: Manager())

    monkeypatch.setattr(endpoint, "import_module", imported)
    tools = McpEndpoint(2_000, None, ())
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    with pytest.raises(Unavailable, match="did not start; retry in 1 s"):
        await tools.handle({"path": "first"}, receive, send)
    for path in ("second", "third"):
        await tools.handle({"path": path}, receive, send)
    assert [message["type"] for message in sent] == ["second", "third"]
    assert len(imports) == 2
    await tools.aclose()


async def test_an_endpoint_that_was_never_used_closes() -> None:
    """An endpoint that was never started can be closed."""
    await McpEndpoint(2_000, None, ()).aclose()
