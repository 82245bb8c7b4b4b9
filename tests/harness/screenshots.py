"""Pictures of the console's main pages, for the documents: ``make screenshots``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from tests.harness.accounts import PASSWORD, registration
from tests.harness.chromium import ARGUMENTS, CHROMIUM
from tests.harness.console import calculate, sign_in
from tests.harness.servers import pycalc
from tests.harness.waiting import wait_until

_IMAGES = Path(__file__).parents[2] / "docs" / "images"
_EXPRESSIONS = ("100!", "3^(10^12) mod 10^20", "1/3 + 1/7", "factorize(2^67 - 1)", "2^256 - 1", "fibonacci(1000)")
_DESKTOP: ViewportSize = {"width": 1280, "height": 860}
_PHONE: ViewportSize = {"width": 390, "height": 844}


def _open(page: Page, path: str) -> None:
    page.goto(path)
    expect(page.locator(".skeleton")).to_have_count(0)


def _calculate(page: Page) -> None:
    _open(page, "/")
    calculate(page, "fibonacci(1000)")
    expect(page.locator("#result")).to_be_visible()


def _history(page: Page) -> None:
    _open(page, "/console/history")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()


def _usage(page: Page) -> None:
    _open(page, "/console/usage?period=7")
    expect(page.locator("canvas")).to_be_visible()


_PICTURES: dict[str, Callable[[Page], None]] = {
    "console": _calculate,
    "history": _history,
    "usage": _usage,
    "developers": lambda page: _open(page, "/console/developers"),
    "health": lambda page: _open(page, "/console/admin?tab=health"),
    "guide": lambda page: _open(page, "/guide"),
}


def _fill(client: httpx.Client, bootstrap: str) -> None:
    """Create the data that the pictures show: an admin with calculations, their usage totals, and an API key."""
    body = registration("ada", role="admin")
    client.post("/register", json=body, headers={"X-Bootstrap-Token": bootstrap}).raise_for_status()
    session = client.post("/login", json={"username": "ada", "password": PASSWORD}).json()
    client.headers["Authorization"] = f"Bearer {session['access_token']}"
    for expression in _EXPRESSIONS:
        client.post("/evaluate", json={"expression": expression}).raise_for_status()
    client.post("/me/keys", json={"name": "nightly report"}).raise_for_status()
    wait_until(
        lambda: client.get("/usage").json()["items"] != [],
        "the consumer has counted the calculations",
    )


def _take(browser: Browser, url: str, names: Iterable[str], *, phone: bool) -> None:
    context = browser.new_context(
        base_url=url, viewport=_PHONE if phone else _DESKTOP, color_scheme="dark" if phone else "light"
    )
    page = context.new_page()
    page.goto("/")
    sign_in(page, "ada")
    for name in names:
        _PICTURES[name](page)
        page.screenshot(path=_IMAGES / f"{name}{'-phone' if phone else ''}.png")
    context.close()


def main() -> None:
    """Run a temporary service, and write the pictures into ``docs/images``."""
    with (
        TemporaryDirectory() as folder,
        pycalc(data=Path(folder)) as running,
        httpx.Client(base_url=running.url, timeout=30) as client,
        sync_playwright() as playwright,
    ):
        _fill(client, (Path(folder) / "bootstrap-token").read_text().strip())
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        _take(browser, running.url, _PICTURES, phone=False)
        _take(browser, running.url, ["console"], phone=True)
        browser.close()


if __name__ == "__main__":
    main()
