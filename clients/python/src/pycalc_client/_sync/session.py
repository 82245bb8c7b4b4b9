"""Requests with credentials, retried after temporary failures."""

from __future__ import annotations

import httpx

from pycalc_client._sync.tokens import Tokens
from pycalc_client.calls import BEGINNING, Answer, Call
from pycalc_client.errors import ProblemError, error_of
from pycalc_client.primitives import sleep
from pycalc_client.retries import Attempts, RetryPolicy


class Session:
    """A sender of requests with an API key, an access token or no credentials.

    After a temporary failure, it repeats a request that the service has not begun, or whose repetition has no further
    effect.
    """

    def __init__(self, http: httpx.Client, api_key: str | None, tokens: Tokens | None, policy: RetryPolicy) -> None:
        self._http = http
        self._api_key = api_key
        self._tokens = tokens
        self.policy = policy

    def send(self, call: Call) -> Answer:
        """Send a request and return its answer; raises PycalcError."""
        attempts = Attempts(self.policy)
        while True:
            try:
                return self._read(self._respond(call, attempts), call.longest)
            except (httpx.RequestError, ProblemError) as error:
                seconds = attempts.wait(error, repeatable=call.repeatable)
            sleep(seconds)

    def open(self, call: Call, attempts: Attempts) -> httpx.Response:
        """Send a request and return the successful response, its body unread; the caller must close it."""
        while True:
            try:
                return self._respond(call, attempts)
            except (httpx.RequestError, ProblemError) as error:
                seconds = attempts.wait(error, repeatable=call.repeatable)
            sleep(seconds)

    def close(self) -> None:
        """Log out of the session that a password opened, and close the connections."""
        if self._tokens is not None:
            self._tokens.end_session()
        self._http.close()

    def _respond(self, call: Call, attempts: Attempts) -> httpx.Response:
        """Make one attempt; return a successful response, its body unread.

        Raises RequestError, ProblemError and UnexpectedAnswer.
        """
        token = self._api_key
        if call.anonymous:
            token = None
        elif self._tokens is not None:
            token = self._tokens.current()
        response = self._request(call, token, attempts.remaining)
        if response.status_code == httpx.codes.UNAUTHORIZED and token is not None and self._tokens is not None:
            response.read()
            token = self._tokens.current(refused=token)
            response = self._request(call, token, attempts.remaining)
        if response.is_success:
            return response
        try:
            response.read()
        finally:
            response.close()
        raise error_of(response)

    def _request(self, call: Call, token: str | None, remaining: float) -> httpx.Response:
        headers = dict(call.headers)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if call.idempotency_key is not None:
            headers["Idempotency-Key"] = f'"{call.idempotency_key}"'
        limits = self._http.timeout.as_dict()
        if call.read_timeout is not None:
            limits["read"] = call.read_timeout
        timeout = httpx.Timeout(
            **{name: remaining if limit is None else min(limit, remaining) for name, limit in limits.items()}
        )
        request = self._http.build_request(
            call.method, call.path, params=call.params, json=call.json, headers=headers, timeout=timeout
        )
        return self._http.send(request, stream=True)

    def _read(self, response: httpx.Response, longest: int | None) -> Answer:
        """Read a response and close it; if its Content-Length is above ``longest``, read only its beginning."""
        try:
            if longest is None or int(response.headers.get("content-length", 0)) <= longest:
                return Answer(response.headers, response.read(), whole=True)
            beginning = b""
            for data in response.iter_bytes():
                beginning += data
                if len(beginning) >= BEGINNING:
                    break
            return Answer(response.headers, beginning, whole=False)
        finally:
            response.close()
