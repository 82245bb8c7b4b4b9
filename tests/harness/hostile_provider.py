"""An identity provider with its own server and keys, whose answers a test can make wrong."""

from __future__ import annotations

import base64
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CLIENT_ID, CLIENT_SECRET = "pycalc", "a client's secret of more than 32 characters"
Answer = tuple[int, bytes]


def _encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


class HostileProvider:
    """A provider whose ID token, keys and discovery document a test can replace."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.key = rsa.generate_private_key(65537, 2048)
        self.other_key = rsa.generate_private_key(65537, 2048)
        self.keys: list[dict[str, Any]] = [self.public(self.key, "one")]
        self.discovery: dict[str, Any] = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
        }
        self.token: Callable[[], str] = lambda: ""
        self.requests: list[str] = []  # the path of each request
        self.coding: str | None = None  # the Content-Encoding of the answers
        self.accepted: str | None = None  # the Accept-Encoding of the last request
        self.form: dict[str, list[str]] = {}  # the form of the last request for tokens
        self.answers: dict[str, Callable[[], Answer]] = {
            "/.well-known/openid-configuration": lambda: (200, json.dumps(self.discovery).encode()),
            "/keys": lambda: (200, json.dumps({"keys": self.keys}).encode()),
            "/token": lambda: (200, json.dumps({"id_token": self.token()}).encode()),
        }

    @property
    def settings(self) -> dict[str, str]:
        """Return the service's settings for this provider."""
        return {
            "oidc_issuer": self.issuer,
            "oidc_client_id": CLIENT_ID,
            "oidc_client_secret": CLIENT_SECRET,
            "oidc_redirect_url": "https://calc.example/oidc/callback",
        }

    @staticmethod
    def public(key: rsa.RSAPrivateKey, key_id: str, **more: str) -> dict[str, Any]:
        """Return the public key of a key pair as a JSON Web Key."""
        return {**jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": key_id, **more}

    def claims(self, nonce: str, /, **changes: object) -> dict[str, Any]:
        """Return the claims of a valid token with changes; a claim that is changed to None is left out."""
        now = int(time())
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "sub": "ada", "iat": now, "exp": now + 300, "nonce": nonce}
        return {name: value for name, value in {**claims, **changes}.items() if value is not None}

    def signed(self, claims: dict[str, Any], key: Any = None, alg: str = "RS256", **header: object) -> str:
        """Return a signed token with these claims and extra header fields."""
        return jwt.encode(claims, key or self.key, alg, {"kid": "one", **header})

    @staticmethod
    def unsigned(claims: dict[str, Any], alg: str = "none") -> str:
        """Return a token without a signature."""
        return f"{_encoded({'alg': alg, 'kid': 'one'})}.{_encoded(claims)}."

    def confused(self, claims: dict[str, Any]) -> str:
        """Return a token signed by HMAC with the provider's public key as the secret (key confusion)."""
        secret = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        signed = f"{_encoded({'alg': 'HS256', 'kid': 'one'})}.{_encoded(claims)}"
        mac = hmac.digest(secret, signed.encode(), "sha256")
        return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def elliptic_key() -> ec.EllipticCurvePrivateKey:
    """Return an elliptic-curve key; the provider's own are RSA keys."""
    return ec.generate_private_key(ec.SECP256R1())


@contextmanager
def hostile_provider() -> Iterator[HostileProvider]:
    """Run a provider in threads of this process."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.requests.append(self.path)
            provider.accepted = self.headers["Accept-Encoding"]
            status, body = provider.answers[self.path]()
            self.send_response(status)
            if provider.coding is not None:
                self.send_header("Content-Encoding", provider.coding)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            provider.form = parse_qs(form)
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Suppress the server's log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = HostileProvider(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
