"""The tokens of a session that a user name and a password open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import httpx

from pycalc_client.errors import PycalcError, UnexpectedAnswer, error_of
from pycalc_client.primitives import Lock

_RENEWED_AFTER = 0.9  # the share of a token's lifetime after which it is renewed
_LOGOUT_SECONDS = 5.0
# In these cases the refresh token was not sent, so it is still valid.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True, slots=True, repr=False)
class Password:
    """A user's name and password.

    ``totp`` is a code of the second factor, or a function that returns a new code. It is None without a second factor.
    """

    username: str
    password: str
    totp: str | Callable[[], str] | None

    def body(self) -> dict[str, str]:
        """Return the body of POST /login."""
        code = self.totp() if callable(self.totp) else self.totp
        given = {"username": self.username, "password": self.password}
        return given if code is None else {**given, "totp": code}


class Tokens:
    """The tokens of one session. One caller at a time renews them, while other callers wait.

    A token is renewed shortly before it expires, or once the service refuses it. Its lifetime is measured from its
    arrival, so the wall clock does not matter.
    """

    def __init__(self, http: httpx.Client, password: Password) -> None:
        self._http = http
        self._password = password
        self._lock = Lock()
        self._access: str | None = None
        self._refresh: str | None = None
        self._renew_at = 0.0

    def current(self, refused: str | None = None) -> str:
        """Return an access token other than ``refused``; renew it, or log in, if necessary."""
        with self._lock:
            if self._access is None or self._access == refused or monotonic() >= self._renew_at:
                self._access = self._renewed()
            return self._access

    def end_session(self) -> None:
        """Log out, if there is a session; connection errors and refusals are ignored."""
        if self._access is None:
            return
        try:
            response = self._log_out(self._access)
            if response.status_code == httpx.codes.UNAUTHORIZED and self._refresh is not None:
                # The access token may have expired, while the session is still open.
                renewal = {"refresh_token": self._refresh}
                response = self._http.post("/token/refresh", json=renewal, timeout=_LOGOUT_SECONDS)
                self._log_out(self._store_tokens(response))
        except (httpx.HTTPError, PycalcError):
            return

    def _log_out(self, access: str) -> httpx.Response:
        fields = {"Authorization": f"Bearer {access}"}
        return self._http.post("/logout", headers=fields, timeout=_LOGOUT_SECONDS)

    def _renewed(self) -> str:
        # If the answer is lost, or this call is cancelled, the service may already have replaced the refresh token.
        # Sending the old token again would end the session, so the next call logs in anew.
        refresh, self._refresh = self._refresh, None
        if refresh is not None:
            try:
                response = self._http.post("/token/refresh", json={"refresh_token": refresh})
            except _NOT_SENT:
                self._refresh = refresh
                raise
            except httpx.TransportError:
                pass
            else:
                if response.status_code != httpx.codes.UNAUTHORIZED:
                    self._refresh = refresh
                    return self._store_tokens(response)
        return self._store_tokens(self._http.post("/login", json=self._password.body()))

    def _store_tokens(self, response: httpx.Response) -> str:
        """Store a response's refresh token, and return its access token. Raises ProblemError and UnexpectedAnswer."""
        if not response.is_success:
            raise error_of(response)
        try:
            session = response.json()
            access, refresh, lifetime = session["access_token"], session["refresh_token"], session["expires_in"]
        except (KeyError, TypeError, ValueError):
            raise UnexpectedAnswer("The answer is no session: does the URL lead to a pycalc service?") from None
        self._refresh, self._renew_at = refresh, monotonic() + _RENEWED_AFTER * lifetime
        return str(access)
