"""The console with several tabs and users, on slow and failing networks, and with double clicks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import APIResponse, Browser, BrowserContext, Page, Route, expect

from tests.harness.accounts import PASSWORD, new_name, registration
from tests.harness.console import answer_json, answer_once, calculate, fill_sign_in, open_sign_in, sign_in, sign_out
from tests.harness.faulty import Fault, faulty_proxy
from tests.harness.servers import Server
from tests.harness.waiting import wait_until

_BEFORE_DEADLINE_MS = 15_000  # after 20 s the page gives up a request by itself
_TWICE = "button => { button.click(); button.click(); }"


def _batch(context: BrowserContext, token: str, count: int) -> None:
    """Record this many calculations of the token's user."""
    items = [{"operation": "evaluate", "input": {"expression": f"{n}+0"}} for n in range(count)]
    headers = {"Authorization": f"Bearer {token}"}
    assert context.request.post("/batch", data={"operations": items}, headers=headers).status == 200


def _history(context: BrowserContext, token: str) -> list[Any]:
    answer = context.request.get("/secure-history?limit=1000", headers={"Authorization": f"Bearer {token}"})
    items: list[Any] = answer.json()["items"]
    return items


def end_session(page: Page) -> None:
    """Calculate on the page, but refuse its access token and the token's renewal, so that the tab is signed out."""
    expect(page.locator(".menu-button .name")).to_be_visible()  # it is signed in
    for path in ("**/evaluate", "**/token/refresh"):
        answer_once(page, path, lambda route: answer_json(route, {"title": "Unauthorized"}, 401))
    calculate(page, "2^10")
    expect(page.get_by_text("Your session has ended")).to_be_visible()


@pytest.fixture
def heir(context: BrowserContext) -> str:
    """Register a second account, and return its name."""
    name = new_name()
    assert context.request.post("/register", data=registration(name)).status == 201
    return name


def test_a_double_click_appends_a_page_once(console: Page, context: BrowserContext, token: str) -> None:
    """Two clicks on Show more, before the next page arrives, request and append that page only once."""
    _batch(context, token, 51)
    console.goto("/console/history")
    rows = console.get_by_role("row")
    expect(rows).to_have_count(51)  # 50 rows and the header
    asked: list[str] = []
    console.on("request", lambda request: asked.append(request.url) if "cursor=" in request.url else None)
    console.get_by_role("button", name="Show more").evaluate(_TWICE)
    expect(rows).to_have_count(52)
    assert len(asked) == 1


def test_a_late_page_gets_into_no_other_list(console: Page, context: BrowserContext, token: str) -> None:
    """If the filter is changed while another page of the list loads, its rows are not appended to the new list."""
    _batch(context, token, 51)
    console.goto("/console/history")
    console.route("**/secure-history?*cursor=*", lambda _: None)  # no answer
    console.get_by_role("button", name="Show more").click()
    cancelled = "requestfailed", lambda request: "cursor=" in request.url
    with console.expect_event(*cancelled, timeout=_BEFORE_DEADLINE_MS):
        console.get_by_label("Operation").select_option("fibonacci")
    expect(console.get_by_text("No calculation matches the filters.")).to_be_visible()
    expect(console.get_by_role("button", name="Show more")).to_have_count(0)


def test_showing_new_rows_keeps_those_that_were_read(console: Page, context: BrowserContext, token: str) -> None:
    """After Show more, the button for new calculations reads the list again without making it shorter."""
    _batch(context, token, 60)
    console.goto("/console/history")
    console.get_by_role("button", name="Show more").click()
    rows = console.get_by_role("row")
    expect(rows).to_have_count(61)
    expect(console.get_by_text("Live", exact=True)).to_be_visible()
    _batch(context, token, 1)
    console.get_by_role("button", name="Show 1 new").click()
    expect(rows.nth(1)).to_contain_text("0 + 0")
    expect(rows).to_have_count(61)
    console.get_by_role("button", name="Show more").click()
    expect(rows).to_have_count(62)


def test_a_retry_reads_what_could_not_be_read(console: Page, context: BrowserContext, token: str) -> None:
    """If new rows could not be read, the button Try again reads these rows, and not the next page."""
    _batch(context, token, 60)
    console.goto("/console/history")
    expect(console.get_by_text("Live", exact=True)).to_be_visible()
    _batch(context, token, 1)
    answer_once(console, "**/secure-history?*", lambda route: route.abort())
    console.get_by_role("button", name="Show 1 new").click()
    console.get_by_role("button", name="Try again").click()
    rows = console.get_by_role("row")
    expect(rows.nth(1)).to_contain_text("0 + 0")
    expect(rows).to_have_count(51)
    expect(console.get_by_role("alert")).to_have_count(0)


def _lose(route: Route) -> None:
    """Pass a request on to the service, and lose the answer."""
    assert route.fetch().ok
    route.abort()


def test_a_lost_answer_of_a_batch_records_nothing_twice(console: Page, context: BrowserContext, token: str) -> None:
    """If the answer to a batch is lost, a second try gets the recorded answers instead of calculating again."""
    console.goto("/console/batch")
    console.get_by_label("One calculation a line").fill("1+1\nfactorial,5")
    answer_once(console, "**/batch", _lose)
    console.get_by_role("button", name="Calculate all").click()
    console.get_by_role("button", name="Try again").click()
    expect(console.get_by_role("row").last).to_contain_text("120")
    assert len(_history(context, token)) == 2


def test_a_lost_answer_records_nothing_twice(console: Page, context: BrowserContext, token: str) -> None:
    """If the answer to a calculation is lost, Try again gets the recorded answer; a new submission is recorded."""
    answer_once(console, "**/evaluate", _lose)
    calculate(console, "fibonacci(10)")
    console.get_by_role("button", name="Try again").click()
    expect(console.locator("#result")).to_have_text("55")
    assert len(_history(context, token)) == 1
    with console.expect_response("**/evaluate") as repeated:
        calculate(console, "fibonacci(10)")
    assert repeated.value.ok
    assert len(_history(context, token)) == 2


def test_a_file_can_be_chosen_again(console: Page, tmp_path: Path) -> None:
    """The field for a file is empty after each choice; otherwise browsers report no second choice of the same file."""
    console.goto("/console/batch")
    file = tmp_path / "lines.txt"
    file.write_text("1+1\n")
    field = console.locator("input[type=file]")
    field.set_input_files(file)
    expect(console.get_by_label("One calculation a line")).to_have_value("1+1\n")
    expect(field).to_have_value("")


def test_text_can_be_dragged_into_the_lines(console: Page) -> None:
    """In the text field of the page Batch, the browser handles dragged text, and the page handles dragged files."""
    console.goto("/console/batch")
    lines = console.get_by_label("One calculation a line")
    prevented = lines.evaluate("""field => [[], [new File(["2+2"], "a.txt")]].map((files) => {
      const dataTransfer = new DataTransfer();
      dataTransfer.setData("text/plain", "1+1");
      files.forEach((file) => dataTransfer.items.add(file));
      const events = ["dragover", "drop"].map((type) => new DragEvent(type, { dataTransfer, cancelable: true }));
      return events.map((event) => !field.dispatchEvent(event));
    })""")
    assert prevented == [[False, False], [True, True]]
    expect(lines).to_have_value("2+2")


def test_the_next_user_sees_nothing_of_the_last_one(console: Page, heir: str) -> None:
    """Signing out removes results, and the lines and results of the page Batch, from the tab's memory."""
    console.goto("/console/batch")
    console.get_by_label("One calculation a line").fill("40+2")
    console.get_by_role("button", name="Calculate all").click()
    expect(console.get_by_role("row").last).to_contain_text("42")
    console.get_by_role("banner").get_by_role("link", name="Calculate").click()
    calculate(console, "fibonacci(90)")
    expect(console.locator("#result")).to_have_text("2880067194370816120")
    sign_out(console)
    expect(console.locator("#result")).to_have_count(0)
    sign_in(console, heir)
    console.get_by_role("banner").get_by_role("link", name="Batch").click()
    expect(console.get_by_label("One calculation a line")).to_have_value("")
    expect(console.get_by_role("row")).to_have_count(0)


def test_a_user_who_signs_in_in_another_tab_gets_an_own_page(
    console: Page, context: BrowserContext, token: str, heir: str
) -> None:
    """If another user signs in in a second tab, the first tab shows that user's history, not the former user's."""
    _batch(context, token, 2)
    console.goto("/console/history")
    expect(console.get_by_role("row")).to_have_count(3)
    other = context.new_page()
    other.goto("/")
    end_session(other)
    sign_in(other, heir)
    expect(console.get_by_role("banner")).to_contain_text(heir)
    expect(console.get_by_text("There are no calculations yet.")).to_be_visible()


def test_a_sign_in_waits_for_a_renewal_in_another_tab(console: Page, context: BrowserContext, heir: str) -> None:
    """A sign-in waits while another tab renews its token.

    Otherwise the late answer to the renewal would replace the cookie of the new session.
    """
    other = context.new_page()
    other.goto("/")
    end_session(other)
    held: list[tuple[Route, APIResponse]] = []
    answer_once(console, "**/evaluate", lambda route: answer_json(route, {"title": "Unauthorized"}, 401))
    answer_once(console, "**/token/refresh", lambda route: held.append((route, route.fetch())))
    with console.expect_request("**/token/refresh"):
        calculate(console, "2^10")
    logins: list[str] = []
    other.on("request", lambda request: logins.append(request.url) if request.url.endswith("/login") else None)
    fill_sign_in(open_sign_in(other), heir)
    other.evaluate("undefined")  # by now a request of the form would be known
    assert logins == []
    wait_until(lambda: not console.evaluate("false") and len(held) == 1, "the answer to the renewal")
    ((route, answer),) = held
    route.fulfill(response=answer)
    for tab in (other, console):
        expect(tab.get_by_role("banner")).to_contain_text(heir)
        tab.reload()
        expect(tab.get_by_role("banner")).to_contain_text(heir)


def test_a_sign_in_through_a_provider_reaches_every_tab(console: Page, context: BrowserContext, heir: str) -> None:
    """If another user signs in through the identity provider in a second tab, that user is signed in in both tabs."""
    login = context.request.post("/login", data={"username": heir, "password": PASSWORD, "cookie": True})
    script = '<script type="module" src="/web/signed-in.js"></script>'
    page = f"<!doctype html>{script}<body data-session='{login.text()}'></body>"
    other = context.new_page()
    other.route("**/oidc/callback", lambda route: route.fulfill(content_type="text/html", body=page))
    other.goto("/oidc/callback")
    for tab in (other, console):
        expect(tab.get_by_role("banner")).to_contain_text(heir)


def test_a_session_that_ends_loses_no_lines(console: Page, username: str) -> None:
    """If the session ends, the lines of the page Batch are still there when the same user signs in again."""
    console.goto("/console/batch")
    console.get_by_label("One calculation a line").fill("40+2")
    refused = {"title": "Unauthorized", "status": 401}
    for path in ("**/batch", "**/token/refresh"):
        answer_once(console, path, lambda route: answer_json(route, refused, 401))
    console.get_by_role("button", name="Calculate all").click()
    expect(console.get_by_text("Your session has ended")).to_be_visible()
    sign_in(console, username)
    expect(console.get_by_label("One calculation a line")).to_have_value("40+2")


@pytest.mark.parametrize("status", [403, 407, 408])
def test_a_refusal_of_a_proxy_does_not_end_the_session(console: Page, username: str, status: int) -> None:
    """If a proxy refuses to renew the access token, an error is shown, the user stays signed in, and a retry works."""
    answer_once(console, "**/evaluate", lambda route: answer_json(route, {"title": "Unauthorized"}, 401))
    answer_once(console, "**/token/refresh", lambda route: route.fulfill(status=status, body="<html>Blocked</html>"))
    calculate(console, "fibonacci(10)")
    expect(console.get_by_role("alert")).to_contain_text(f"The service answered {status}")
    expect(console.get_by_role("banner")).to_contain_text(username)
    calculate(console, "fibonacci(11)")
    expect(console.locator("#result")).to_have_text("89")


def test_the_skip_link_leads_to_the_content(page: Page) -> None:
    """The skip link moves the focus to the content, and the address keeps its query and fragment."""
    for address in ("/?expression=2%5E10", "/#expression=2%5E10"):
        page.goto(address)
        expect(page.get_by_label("Expression")).to_have_value("2^10")
        skip = page.get_by_role("link", name="Skip to the content")
        skip.focus()
        page.keyboard.press("Enter")
        expect(page.locator("#main")).to_be_focused()
        expect(page.get_by_label("Expression")).to_have_value("2^10")
        assert page.url.endswith(address)


def test_a_reset_link_works_in_an_open_tab(page: Page) -> None:
    """A reset link that is pasted into a tab with the console opens the form, and its token leaves the address."""
    page.goto("/")
    expect(page.get_by_role("banner").get_by_role("button", name="Sign in")).to_be_visible()
    page.goto("/#password-reset=pcp_SECRETTOKEN")  # changes only the fragment, so that no document is loaded
    expect(page.get_by_label("New password", exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile(r"/$"))


def test_a_part_that_cannot_be_loaded_is_told(browser: Browser, server: Server) -> None:
    """If a dialog can't be loaded, the page says so and offers to reload; a second click on its button tries again."""
    page = browser.new_page(base_url=server.url)
    page.goto("/")
    answer_once(page, "**/parts/sign-in.js", lambda route: route.abort())
    page.get_by_role("banner").get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Something went wrong here")).to_be_visible()
    expect(page.get_by_role("button", name="Reload the page")).to_be_visible()
    expect(open_sign_in(page)).to_be_visible()
    page.context.close()


def test_digits_that_are_cut_are_an_error(browser: Browser, server: Server, username: str, token: str) -> None:
    """If the connection breaks while recorded digits arrive, the drawer and the comparison say so."""
    for n in (10_000, 10_001):
        httpx.get(f"{server.url}/fibonacci/{n}", headers={"Authorization": f"Bearer {token}"}).raise_for_status()
    with faulty_proxy(server.port) as proxy:
        page = browser.new_page(base_url=proxy.url)
        page.goto("/console/history")
        sign_in(page, username)
        page.get_by_role("button", name="fibonacci(10000)").click()
        proxy.faults = [Fault("/calculations/", cut=100)]
        page.get_by_role("button", name="Show the digits").click()
        expect(page.get_by_role("alert")).to_contain_text("The answer was cut off")
        page.get_by_role("button", name="Show the digits").click()
        expect(page.get_by_role("region", name="All digits")).to_be_visible()
        page.keyboard.press("Escape")
        for mark in page.get_by_role("checkbox").all():
            mark.check()
        proxy.faults = [Fault("/calculations/", cut=100)]
        page.get_by_role("button", name="Compare").click()
        expect(page.get_by_role("alert")).to_contain_text("The answer was cut off")
        page.context.close()
