"""Measurements of a page's speed by the browser itself."""

from __future__ import annotations

from typing import NamedTuple

from playwright.sync_api import Page

from tests.harness.waiting import wait_until

_WATCH = """
window.longTasks = [];
new PerformanceObserver((list) => {
  for (const { startTime, duration } of list.getEntries()) longTasks.push({ startTime, duration });
}).observe({ type: "longtask", buffered: true });
"""
_USABLE = "performance.getEntriesByName('usable')[0]?.startTime"
_LOADED = """[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .map(({ startTime, encodedBodySize }) => [startTime, encodedBodySize])"""


class FirstPage(NamedTuple):
    """The number of requests, their compressed bytes and the milliseconds until the page Calculate accepts input."""

    requests: int
    bytes: int
    usable_ms: float


def first_page(page: Page) -> FirstPage:
    """Open the page Calculate, and measure what it needs until its expression field accepts input."""
    page.goto("/")
    # The repeated checks of ``wait_for_function`` call ``eval`` in the page, which the Content-Security-Policy forbids.
    wait_until(lambda: page.evaluate(_USABLE) is not None, "the page accepts input")
    usable = page.evaluate(_USABLE)
    needed = [size for start, size in page.evaluate(_LOADED) if start < usable]
    return FirstPage(len(needed), sum(needed), usable)


def use_slow_4g(page: Page) -> None:
    """Give the page a network of 1.6 Mbit/s down, 0.75 Mbit/s up, and a round-trip time of 150 ms."""
    network = {"offline": False, "latency": 150, "downloadThroughput": 200_000, "uploadThroughput": 93_750}
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", network)


def watch_long_tasks(page: Page) -> None:
    """Make each document that the page opens from now on record its main thread's tasks of 50 ms or longer."""
    page.add_init_script(_WATCH)


def longest_task_ms(page: Page) -> float:
    """Return the milliseconds of the open document's longest recorded task, or 0 if none took 50 ms."""
    longest: float = page.evaluate("Math.max(0, ...longTasks.map(({ duration }) => duration))")
    return longest
