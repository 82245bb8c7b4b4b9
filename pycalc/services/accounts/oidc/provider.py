"""The HTTP client of an identity provider: discovery, keys and code exchange, all bounded in time and size."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote_plus, urlencode

from structlog import get_logger

from pycalc.errors import Unauthorized, Unavailable
from pycalc.observability.metrics import AccountMetrics
from pycalc.services.accounts.oidc.id_tokens import signing_keys
from pycalc.urls import is_secure

if TYPE_CHECKING:
    import httpx
    from jwt import PyJWK

_MOST_BYTES = 262_144  # the largest response
_FRESH_SECONDS = 3_600.0  # for which the discovery document and the keys are cached
_RETRY_SECONDS = 5.0  # between two reads, even if the first failed or had not the wanted key
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")

_log = get_logger(__name__)


class ProviderSettings(NamedTuple):
    """The identity provider, and the data with which the service is registered there."""

    issuer: str
    client_id: str
    client_secret: str
    redirect_url: str  # the service's own GET /oidc/callback


class Provider:
    """A client of an identity provider, whose discovery document and keys are cached."""

    def __init__(
        self,
        settings: ProviderSettings,
        metrics: AccountMetrics,
        *,
        timeout: float = 5.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Create a client, whose requests take at most ``timeout`` seconds."""
        self.settings = settings
        self._failures = metrics.provider_failures
        self._timeout = timeout
        self._clock = clock
        self._client: httpx.AsyncClient | None = None
        self._reading = asyncio.Lock()  # lets concurrent sign-ins share one read
        self._endpoints: dict[str, str] = {}
        self._keys: Sequence[PyJWK] = ()
        self._read_at = self._failed_until = -inf

    async def aclose(self) -> None:
        """Close the connections to the provider."""
        if self._client is not None:
            await self._client.aclose()

    async def authorization_url(self, parameters: dict[str, str]) -> str:
        """Return the URL of the provider's sign-in page with these query parameters; raises Unavailable."""
        endpoint = await self._endpoint("authorization_endpoint")
        own = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self.settings.redirect_url,
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode({**own, **parameters})}"

    async def id_token(self, code: str, verifier: str) -> str:
        """Exchange an authorization code for an ID token.

        Raises Unauthorized if the provider refuses the code, and Unavailable if it does not answer with a token.
        """
        endpoint = await self._endpoint("token_endpoint")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.settings.redirect_url,
            "code_verifier": verifier,
        }
        # RFC 6749 §2.3.1: form-encode the client's id and its secret before joining them.
        credentials = quote_plus(self.settings.client_id), quote_plus(self.settings.client_secret)
        status, answer = await self._fetch("POST", endpoint, data=form, auth=credentials)
        if status == 400 and answer.get("error") == "invalid_grant":
            raise Unauthorized("The identity provider refuses the code: begin again with GET /oidc/login.")
        token = answer.get("id_token")
        if status != 200 or not isinstance(token, str):
            raise self._failed(f"the token endpoint answered {status} {str(answer.get('error', ''))[:64]!r}")
        return token

    async def key(self, key_id: str | None) -> PyJWK | None:
        """Return the signing key with this id or, for None, the provider's only key.

        If there is not exactly one such key, read the keys again, but at most every five seconds; if there is still
        not, return None. Raises Unavailable if the keys can't be read.
        """
        await self._read(lambda: self._known(key_id) is not None)
        return self._known(key_id)

    async def _endpoint(self, name: str) -> str:
        await self._read(lambda: True)
        return self._endpoints[name]

    def _known(self, key_id: str | None) -> PyJWK | None:
        keys = self._keys if key_id is None else [key for key in self._keys if key.key_id == key_id]
        return keys[0] if len(keys) == 1 else None

    async def _read(self, suffices: Callable[[], bool]) -> None:
        """Read the discovery document and the keys if they are an hour old, or if they do not suffice.

        Read neither within five seconds after a read, whatever the demand; if that read failed, raise Unavailable.
        """
        async with self._reading:
            age = self._clock() - self._read_at
            if age < _RETRY_SECONDS or (age < _FRESH_SECONDS and suffices()):
                return
            if self._clock() < self._failed_until:
                raise Unavailable("The identity provider does not answer; try again later.", int(_RETRY_SECONDS))
            try:
                issuer = self.settings.issuer
                url = issuer.removesuffix("/") + "/.well-known/openid-configuration"
                status, document = await self._fetch("GET", url)
                if status != 200 or document.get("issuer") != issuer:
                    raise self._failed(f"the discovery document (status {status}) is not of the issuer {issuer}")
                endpoints = {name: document.get(name) for name in _ENDPOINTS}
                if not all(isinstance(url, str) and is_secure(url) for url in endpoints.values()):
                    raise self._failed("an endpoint in the discovery document is missing, or is no https URL")
                self._endpoints = {name: str(url) for name, url in endpoints.items()}
                status, document = await self._fetch("GET", self._endpoints["jwks_uri"])
                try:
                    self._keys = signing_keys(document)
                except ValueError as error:
                    raise self._failed(f"{error} (status {status})") from error
            except Unavailable:
                self._failed_until = self._clock() + _RETRY_SECONDS
                raise
            self._read_at = self._clock()

    async def _fetch(self, method: str, url: str, **options: Any) -> tuple[int, dict[str, Any]]:
        """Return the status and the JSON object of a response; raises Unavailable for any other response or none."""
        if self._client is None:
            # In a thread, because this imports httpx and loads the TLS root certificates.
            self._client = await asyncio.to_thread(_new_client, self._timeout)
        import httpx

        try:
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream(method, url, headers=_HEADERS, **options) as answer,
            ):
                body = bytearray()
                async for part in answer.aiter_raw():  # a compressed response is not decompressed, so it is no JSON
                    body += part
                    if len(body) > _MOST_BYTES:
                        raise ValueError(f"more than {_MOST_BYTES:,} bytes")
            document = json.loads(body)
        except (httpx.HTTPError, TimeoutError, ValueError, RecursionError) as error:
            raise self._failed(f"{method} {url}: {type(error).__name__}") from error
        if not isinstance(document, dict):
            raise self._failed(f"{method} {url}: not a JSON object")
        return answer.status_code, document

    def _failed(self, reason: str) -> Unavailable:
        """Count and log a failure of the provider, and return an error that does not tell the client the reason."""
        self._failures.inc()
        _log.error("the identity provider failed", reason=reason)
        return Unavailable("The identity provider does not answer as expected; try again later.", int(_RETRY_SECONDS))


def _new_client(timeout: float) -> httpx.AsyncClient:
    import httpx

    return httpx.AsyncClient(timeout=timeout, follow_redirects=False)
