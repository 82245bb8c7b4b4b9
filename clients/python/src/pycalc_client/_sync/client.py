"""The class of the client: its construction, and its methods other than the operations."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from pycalc_client._sync.calculation import Calculation, calculation_of
from pycalc_client._sync.operations import Operations
from pycalc_client._sync.session import Session
from pycalc_client._sync.tokens import Password, Tokens
from pycalc_client._version import __version__
from pycalc_client.calls import BatchItem, Call, batch_parts, moment, new_key, params_of, require_key, require_url
from pycalc_client.errors import ProblemError, problem_error
from pycalc_client.event_stream import EventParser
from pycalc_client.models import ApiKey, Usage, api_key_of, usage_of
from pycalc_client.primitives import sleep
from pycalc_client.retries import Attempts, RetryPolicy

_USER_AGENT = f"pycalc-client/{__version__} Python/{platform.python_version()}"
_PAGE = 200  # calculations in a page of the history
# A connection of an event stream is dead after this silence, because the service sends something every 15 s.
_SILENCE_SECONDS = 45.0


@dataclass(frozen=True, slots=True)
class Event:
    """The event that a calculation was recorded.

    Pass the event's ``id`` to ``events`` as ``last_event_id``, to receive the events after it.
    """

    id: str
    type: str
    calculation: Calculation[Any]


class Client(Operations):
    """A client of a pycalc service, for use as a context manager.

    It authenticates by an API key, or by a user name and a password. With a password it opens a session, renews the
    session's tokens, and logs out when it is closed. ``totp`` is the code of a second factor, or a function that
    returns a new code. ``timeout`` is httpx's timeout for one attempt; ``retries`` limits the attempts. ``transport``
    is an httpx transport, for tests.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        username: str | None = None,
        password: str | None = None,
        totp: str | Callable[[], str] | None = None,
        timeout: float | httpx.Timeout = 60.0,
        retries: RetryPolicy = RetryPolicy(),  # noqa: B008  # it is immutable
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        if (username is None) != (password is None) or (api_key is not None and username is not None):
            raise ValueError("Give an api_key, or username and password, or nothing.")
        require_url(base_url)
        if api_key is not None:
            require_key(api_key)
        http = httpx.Client(
            base_url=base_url, timeout=timeout, transport=transport, headers={"User-Agent": _USER_AGENT}
        )
        tokens = None
        if username is not None and password is not None:
            tokens = Tokens(http, Password(username, password, totp))
        super().__init__(Session(http, api_key, tokens, retries))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Log out of the session that a password opened, and close the connections."""
        self._session.close()

    def batch(self, items: Iterable[BatchItem]) -> list[Calculation[Any] | ProblemError]:
        """Calculate any number of items, up to 1,000 in a request; return their results in order.

        An item is ``{"operation": "pow", "input": {"x": 2, "y": -1}}``; options such as ``mod`` are members of its
        input. If an item has no result, its ProblemError is returned instead of raised.
        """
        results: list[Calculation[Any] | ProblemError] = []
        for part in batch_parts(items):
            call = Call("POST", "/batch", json={"operations": part}, idempotency_key=new_key())
            results += (self._session.send(call)).read(self._results_of)
        return results

    def history(
        self,
        *,
        operation: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        user: str | None = None,
    ) -> Generator[Calculation[Any]]:
        """Yield the caller's recorded calculations, newest first, requested page by page.

        An admin gets the calculations of all users, or only those of ``user``, a name or id.
        """
        params = params_of(limit=_PAGE, operation=operation, since=moment(since), until=moment(until), user=user)
        while True:
            answer = self._session.send(Call("GET", "/secure-history", params=params))
            calculations, cursor = answer.read(self._page_of)
            yield from calculations
            if cursor is None:
                return
            params["cursor"] = cursor

    def events(self, *, last_event_id: str | None = None) -> Generator[Event]:
        """Yield an event for each calculation of the caller that is recorded from now on, or after ``last_event_id``.

        An admin gets the events of all users. After a lost connection, reconnect and continue without a gap.
        """
        attempts = Attempts(self._session.policy)
        while True:
            headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
            if last_event_id is not None:
                headers["Last-Event-ID"] = last_event_id
            call = Call("GET", "/events", headers=headers, read_timeout=_SILENCE_SECONDS)
            response = self._session.open(call, attempts)
            failure = httpx.TransportError("The event stream ended")
            parser = EventParser()
            opened = False
            try:
                for data in response.iter_raw():
                    for message in parser.feed(data):
                        last_event_id = message.id or last_event_id
                        if message.data:
                            yield self._event_of(json.loads(message.data))
                        # The first block only states the position, so it is no progress; events and heartbeats are.
                        # Progress is noted after the yield, because the caller may take long.
                        if opened or message.data:
                            attempts.progressed()
                        opened = True
            except httpx.TransportError as error:
                failure = error
            finally:
                response.close()
            sleep(attempts.wait(failure, repeatable=True))

    def _results_of(self, batch: Mapping[str, Any]) -> list[Calculation[Any] | ProblemError]:
        return [
            calculation_of(self._session, item) if "id" in item else problem_error(item) for item in batch["results"]
        ]

    def _page_of(self, page: Mapping[str, Any]) -> tuple[list[Calculation[Any]], str | None]:
        return [calculation_of(self._session, item) for item in page["items"]], page["next_cursor"]

    def _event_of(self, event: Mapping[str, Any]) -> Event:
        return Event(event["id"], event["type"], calculation_of(self._session, event["data"]))

    def usage(
        self, *, since: date | str | None = None, until: date | str | None = None, user: str | None = None
    ) -> Usage:
        """Return the caller's quotas, and the caller's usage totals by day (UTC) and operation.

        An admin gets the totals of all users, or only those of ``user``, a name or id.
        """
        params = params_of(since=since, until=until, user=user)
        return (self._session.send(Call("GET", "/usage", params=params))).read(usage_of)

    def register(self, username: str, email: str, password: str) -> None:
        """Create an account."""
        body = {"username": username, "email": email, "password": password}
        self._session.send(Call("POST", "/register", json=body, anonymous=True))

    def create_api_key(
        self,
        name: str,
        *,
        scopes: Iterable[str] | None = None,
        expires_in: int | None = None,
        limits: Mapping[str, str] | None = None,
        allow_query: bool | None = None,
    ) -> ApiKey:
        """Create an API key, and return it with its text in ``key``; this needs a session opened by a password.

        ``expires_in`` is in seconds. ``limits`` are limits of the key such as ``{"rate_limit": "60/minute"}``. With
        ``allow_query`` the key may be sent in a URL; then its only scope can be ``calculate``.
        """
        given = {
            "scopes": None if scopes is None else list(scopes),
            "expires_in": expires_in,
            "limits": limits,
            "allow_query": allow_query,
        }
        body = {"name": name, **{member: value for member, value in given.items() if value is not None}}
        return (self._session.send(Call("POST", "/me/keys", json=body))).read(api_key_of)

    def api_keys(self) -> list[ApiKey]:
        """Return the caller's API keys, oldest first, without their texts."""
        answer = self._session.send(Call("GET", "/me/keys"))
        return answer.read(lambda keys: [api_key_of(key) for key in keys])

    def delete_api_key(self, key_id: str) -> None:
        """Delete one of the caller's API keys; the service refuses the key from then on."""
        self._session.send(Call("DELETE", f"/me/keys/{quote(key_id, safe='')}"))
