"""A benchmark of the web console in Chromium: its first page on a slow network, and a viewer of 20 million digits."""

from __future__ import annotations

import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from tests.harness.accounts import registration
from tests.harness.chromium import ARGUMENTS, CHROMIUM
from tests.harness.console import TWENTY_MILLION_DIGITS, go_to_digit, search_digits, sign_in, view_digits
from tests.harness.page_speed import FirstPage, first_page, longest_task_ms, use_slow_4g, watch_long_tasks
from tests.harness.servers import pycalc

ROUNDS = 5
_MIDDLE = 10_000_000


def _fresh_page(browser: Browser, url: str, locale: str = "en-GB") -> Page:
    """Open an empty page in a profile that has cached nothing."""
    page = browser.new_context(base_url=url, locale=locale, viewport={"width": 1280, "height": 900}).new_page()
    watch_long_tasks(page)
    return page


def _first_page(browser: Browser, url: str, locale: str) -> tuple[FirstPage, float]:
    """Measure the first page on slow 4G; also return the main thread's longest task in ms until the menu is shown."""
    page = _fresh_page(browser, url, locale)
    use_slow_4g(page)
    first = first_page(page)
    page.locator(".menu-button").wait_for()
    longest = longest_task_ms(page)
    page.context.close()
    return first, longest


def _digits(browser: Browser, url: str) -> dict[str, float]:
    """Show 20 million digits in the viewer, scroll and search; return the longest task in ms of each step."""
    page = _fresh_page(browser, url)
    page.goto("/")
    sign_in(page, "ada")
    found: dict[str, float] = {}

    def end(step: str) -> None:
        page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 100)))")
        found[step] = longest_task_ms(page)
        page.evaluate("longTasks.length = 0")

    viewer = view_digits(page, TWENTY_MILLION_DIGITS)
    end("calculate, show, check")
    go_to_digit(viewer, _MIDDLE)
    end("go to the middle")
    search_digits(viewer, "123456")
    end("search")
    viewer.locator(".digit-rows").press("End")
    end("scroll to the end")
    page.context.close()
    return found


def console() -> None:
    """Print the speed of the first page in English and German, and the longest tasks of the digit viewer."""
    print(f"\n## The console in Chromium ({ROUNDS} rounds, medians)\n")
    with (
        TemporaryDirectory(prefix="pycalc-") as folder,
        pycalc(data=Path(folder)) as running,
        sync_playwright() as playwright,
    ):
        httpx.post(f"{running.url}/register", json=registration("ada")).raise_for_status()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        print("| first page, slow 4G | requests | bytes | usable ms | longest task ms |\n|---|---|---|---|---|")
        for locale in ("en-GB", "de-DE"):
            rounds = [_first_page(browser, running.url, locale) for _ in range(ROUNDS)]
            first = [one for one, _ in rounds]
            usable = statistics.median(one.usable_ms for one in first)
            longest = statistics.median(task for _, task in rounds)
            print(f"| {locale} | {first[0].requests} | {first[0].bytes:,} | {usable:.0f} | {longest:.0f} |")
        print("\n| 20 million digits | longest task ms |\n|---|---|")
        visits = [_digits(browser, running.url) for _ in range(ROUNDS)]
        for step in visits[0]:
            print(f"| {step} | {statistics.median(visit[step] for visit in visits):.0f} |")
        browser.close()
