"""Actions of a user on the console's pages."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, Route, expect

from tests.harness.accounts import PASSWORD

TWENTY_MILLION_DIGITS = "3^41918065"
_LONG_MS = 90_000  # for 20 million digits on a busy machine


def open_sign_in(page: Page) -> Locator:
    """Open the dialog for signing in, and return it."""
    page.get_by_role("banner").get_by_role("button", name="Sign in").click()
    return page.get_by_role("dialog", name="Sign in")


def fill_sign_in(dialog: Locator, username: str, password: str = PASSWORD) -> None:
    """Fill in the form for signing in, and submit it."""
    dialog.get_by_label("Username").fill(username)
    dialog.get_by_label("Password", exact=True).fill(password)
    dialog.get_by_role("button", name="Sign in", exact=True).first.click()


def sign_in(page: Page, username: str, password: str = PASSWORD) -> None:
    """Sign in by the header's button, and wait for the session."""
    fill_sign_in(open_sign_in(page), username, password)
    expect(page.get_by_role("banner")).to_contain_text(username)


def sign_out(page: Page) -> None:
    """Sign out by the header's menu."""
    page.locator(".menu-button").click()
    page.get_by_role("button", name="Sign out").click()


def registration_form(page: Page, username: str) -> Locator:
    """Open the registration form, fill it in, and return it."""
    open_sign_in(page).get_by_role("button", name="Create account").click()
    form = page.get_by_role("dialog", name="Create account")
    form.get_by_label("Username").fill(username)
    form.get_by_label("Email").fill(f"{username}@example.com")
    form.get_by_label("Password", exact=True).fill(PASSWORD)
    return form


def calculate(page: Page, expression: str) -> None:
    """Enter an expression on the page Calculate, and submit it."""
    page.get_by_label("Expression").fill(expression)
    page.get_by_role("button", name="Calculate", exact=True).click()


def answer_once(page: Page, url: str, answer: Callable[[Route], None]) -> None:
    """Answer the next request to a URL instead of the service, which answers all later ones.

    Playwright's ``times=1`` ends the interception while the page may already send its next request. Playwright then
    waits for that request to be intercepted, and never reports its response.
    """
    pending = [answer]
    page.route(url, lambda route: pending.pop()(route) if pending else route.fallback())


def view_digits(page: Page, expression: str) -> Locator:
    """Calculate a long result, open the digit viewer, and wait until the viewer has verified the digits."""
    calculate(page, expression)
    page.get_by_role("button", name="All digits").click(timeout=_LONG_MS)
    viewer = page.get_by_role("region", name="All digits")
    expect(viewer).to_contain_text("as recorded", timeout=_LONG_MS)
    return viewer


def go_to_digit(viewer: Locator, number: int) -> None:
    """Bring the digit with this number, from 1, into view."""
    viewer.get_by_label("Digit number").fill(str(number))
    viewer.get_by_role("button", name="Go to digit").click()


def search_digits(viewer: Locator, pattern: str) -> None:
    """Search digits, and wait for the first hit."""
    viewer.get_by_label("Search digits").fill(pattern)
    viewer.get_by_role("button", name="Search", exact=True).click()
    expect(viewer.locator("mark.current")).to_have_text(pattern, timeout=_LONG_MS)


def answer_json(route: Route, body: Any, status: int = 200) -> None:
    """Answer a browser's request in place of the service."""
    route.fulfill(status=status, content_type="application/json", body=json.dumps(body))
