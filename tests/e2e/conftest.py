"""Chromium without access to other hosts, and a signed-in console, for tests of the web pages."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.harness.accounts import PASSWORD, new_name, registration
from tests.harness.chromium import ARGUMENTS, CHROMIUM, DEADLINE_MS
from tests.harness.console import sign_in
from tests.harness.servers import Server


# While the browser runs, Playwright's event loop prevents other asynchronous tests in this process.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start the system's Chromium. If it is missing, the tests are skipped; in CI, they fail."""
    if not CHROMIUM.exists():
        reason = f"Chromium is not installed at {CHROMIUM}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    expect.set_options(timeout=DEADLINE_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def context(browser: Browser, server: Server) -> Iterator[BrowserContext]:
    """Open a new browser profile; its pages must request no other origin, and log no errors except failed loads."""
    opened = browser.new_context(base_url=server.url, viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(DEADLINE_MS)
    local = (f"{server.url}/", "data:", f"blob:{server.url}/")
    foreign: list[str] = []
    faults: list[str] = []

    def on_request(request: Request) -> None:
        if not request.url.startswith(local):
            foreign.append(request.url)

    def on_console(message: ConsoleMessage) -> None:
        # The browser also logs each failed load, such as a 4xx. Those are expected; any other error, such as a policy
        # violation, is a fault.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            faults.append(message.text)

    opened.on("request", on_request)
    opened.on("console", on_console)
    opened.on("weberror", lambda fault: faults.append(str(fault.error)))
    yield opened
    opened.close()
    assert foreign == []
    assert faults == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """Open an empty page."""
    return context.new_page()


@pytest.fixture
def username(context: BrowserContext) -> str:
    """Register a new account, and return its name."""
    name = new_name()
    assert context.request.post("/register", data=registration(name)).status == 201
    return name


@pytest.fixture
def token(context: BrowserContext, username: str) -> str:
    """Open another session of the account, independent of the browser's, and return its access token."""
    answer = context.request.post("/login", data={"username": username, "password": PASSWORD})
    return str(answer.json()["access_token"])


@pytest.fixture
def console(page: Page, username: str) -> Page:
    """Open the console, sign in, and return the page."""
    page.goto("/")
    sign_in(page, username)
    return page
