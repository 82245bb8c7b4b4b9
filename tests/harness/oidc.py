"""A real identity provider, the npm package oidc-provider, on a free port of 127.0.0.1.

npm installs its packages once, into the user's cache folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.harness.daemons import Daemon, program
from tests.harness.npm import npm_packages
from tests.harness.servers import free_port

FOLDER = Path(__file__).with_name("oidc_provider")


class OidcProvider(Daemon):
    """A running provider that knows one client: this service."""

    redirect_url: str

    @property
    def settings(self) -> dict[str, str]:
        """Return the service's settings for this provider."""
        return {
            "oidc_issuer": f"http://127.0.0.1:{self.port}",
            "oidc_client_id": "pycalc",
            "oidc_client_secret": "a secret: of the client's/own",
            "oidc_redirect_url": self.redirect_url,
        }


@contextmanager
def oidc_provider(folder: Path, redirect_url: str) -> Iterator[OidcProvider]:
    """Run a provider; raises Missing if node or npm is not installed."""
    node, packages, port = program("node"), npm_packages(FOLDER), free_port()
    command = [node, str(packages / "provider.mjs"), str(port), redirect_url]
    running = OidcProvider("oidc-provider", command, port, folder / "log")
    running.redirect_url = redirect_url
    try:
        running.start()
        yield running
    finally:
        running.kill()


async def sign_in(browser: httpx.AsyncClient, url: str, sub: str, **claims: object) -> str:
    """Sign in at the provider's page as a browser does; return the URL to which the provider redirects the browser."""
    page = await browser.get(url)
    while page.is_redirect and "/interaction/" not in page.headers["Location"]:
        page = await browser.get(page.headers["Location"])
    answer = await browser.post(httpx.URL(url).join(page.headers["Location"]), json={"sub": sub, **claims})
    back = await browser.get(answer.headers["Location"])
    return back.headers["Location"]
