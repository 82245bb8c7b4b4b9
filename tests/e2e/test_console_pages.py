"""The console's pages of an account and of an admin, in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import factorial
from time import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests.conftest import require_program
from tests.harness import axe
from tests.harness.accounts import PASSWORD, new_admin, new_name, new_person, registration
from tests.harness.chromium import DEADLINE_MS
from tests.harness.console import answer_json, calculate, sign_in
from tests.harness.one_time_codes import code_at
from tests.harness.qr_codes import read_qr
from tests.harness.servers import pycalc
from tests.harness.waiting import wait_until

PAGES = ("/", "/console/batch", "/console/history", "/console/usage", "/console/developers", "/console/account")
ADMIN_PAGES = tuple(f"/console/admin?tab={tab}" for tab in ("users", "health", "dead-letters", "audit"))
OTHER_PAGES = ("/docs/problems", "/guide", "/docs", "/redoc")
SCREENS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}
# The number of lines on which the text of an element is shown.
_LINES = """element => {
  const range = document.createRange();
  range.selectNodeContents(element);
  return range.getClientRects().length;
}"""


def _get(context: BrowserContext, path: str, token: str) -> Any:
    answer = context.request.get(path, headers={"Authorization": f"Bearer {token}"})
    assert answer.ok, answer.text()
    return answer.json()


def _evaluate(context: BrowserContext, token: str, *expressions: str) -> None:
    for expression in expressions:
        headers = {"Authorization": f"Bearer {token}"}
        assert context.request.post("/evaluate", data={"expression": expression}, headers=headers).status == 200


def test_history_is_filtered_paged_and_kept_in_the_address(console: Page, context: BrowserContext, token: str) -> None:
    """The history keeps its filters in the address, so a reload shows the same list; "Show more" appends a page."""
    _evaluate(context, token, *(f"{n}+0" for n in range(51)))
    for n in range(2):
        _get(context, f"/fibonacci/{n}", token)
    console.goto("/console/history")
    rows = console.get_by_role("row")
    expect(rows).to_have_count(51)  # 50 rows and the header
    console.get_by_role("button", name="Show more").click()
    expect(rows).to_have_count(54)
    console.get_by_label("Operation").select_option("fibonacci")
    expect(rows).to_have_count(3)
    assert console.url.endswith("/console/history?operation=fibonacci")
    console.reload()
    expect(rows).to_have_count(3)
    # "yesterday" is not a time, so it does not filter.
    console.goto("/console/history?operation=fibonacci&since=yesterday")
    expect(rows).to_have_count(3)


def test_history_shows_new_calculations_when_asked(console: Page, context: BrowserContext, token: str) -> None:
    """New calculations are announced by a button; only pressing it changes the rows, so the focus stays."""
    _evaluate(context, token, "1+1")
    console.goto("/console/history")
    expect(console.get_by_text("Live", exact=True)).to_be_visible()
    row = console.get_by_role("button", name="1 + 1")
    row.focus()
    _evaluate(context, token, "2+2", "3+3")
    fresh = console.get_by_role("button", name="Show 2 new")
    expect(fresh).to_be_visible()
    expect(row).to_be_focused()
    expect(console.get_by_role("row")).to_have_count(2)
    fresh.click()
    expect(console.get_by_role("button", name="3 + 3")).to_be_visible()


def test_a_flood_of_events_moves_nothing(console: Page, context: BrowserContext, token: str) -> None:
    """1,000 new calculations at once change only one button: rows, focus and scrolling stay; no request is sent."""
    _evaluate(context, token, *(f"{n}+0" for n in range(50)))
    console.goto("/console/history")
    expect(console.get_by_text("Live", exact=True)).to_be_visible()
    rows = console.get_by_role("row")
    row = console.get_by_role("button", name="10 + 0")
    row.focus()
    before = (rows.all_inner_texts(), console.evaluate("scrollY"))
    assert before[1] > 0
    requested: list[str] = []
    console.on("request", lambda request: requested.append(request.url))
    batch = {"operations": [{"operation": "fibonacci", "input": {"n": n}} for n in range(1_000)]}
    assert context.request.post("/batch", data=batch, headers={"Authorization": f"Bearer {token}"}).status == 200
    expect(console.get_by_role("button", name="Show 1,000 new")).to_be_visible()
    expect(row).to_be_focused()
    assert (rows.all_inner_texts(), console.evaluate("scrollY")) == before
    assert requested == []


ATTACK = "<img src=x onerror=alert(1)>"


def _item(**changed: Any) -> dict[str, Any]:
    """Return an item of the history in the service's form, with some members changed."""
    known = {"id": "01a22877-dcfd-715f-93ba-549634cd3dd1", "operation": "gcd", "input": {"a": 4, "b": 6}, "result": 2}
    known |= {"digits": 1, "exact": True, "leading": "2", "trailing": "2", "sha256": None, "cached": False}
    return {**known, "elapsed_ms": 0.1, "user": "ada", "created_at": "2026-11-29T12:00:00.000Z", **changed}


def test_a_lost_event_stream_is_resumed(console: Page) -> None:
    """An event stream that is cut is requested again from the last complete event; a repeated event counts once."""
    whole = json.dumps({"id": "first", "data": _item()})
    body = f"id: first\ndata: {whole}\n\nid: second\ndata: cut o"
    console.route("**/events", lambda route: route.fulfill(content_type="text/event-stream", body=body))
    with console.expect_request(lambda request: request.headers.get("last-event-id") == "first"):
        console.goto("/console/history")
    with console.expect_request("**/events"):
        pass
    expect(console.get_by_role("button", name="Show 1 new")).to_be_visible()


def test_recorded_data_is_never_markup(console: Page) -> None:
    """Markup in recorded data is shown as text, in the history's list and in a row's drawer."""
    hostile = _item(operation=ATTACK, input={"n": ATTACK}, result=ATTACK, user=ATTACK)
    answer = {"items": [hostile], "next_cursor": None, "role": "user"}
    console.route("**/secure-history?*", lambda route: answer_json(route, answer))
    console.goto("/console/history")
    console.get_by_role("button", name="<img src=x").click()
    expect(console.get_by_role("dialog")).to_contain_text(ATTACK)
    expect(console.locator("main img, dialog img")).to_have_count(0)


def test_history_gives_a_long_value_back(console: Page, context: BrowserContext, token: str) -> None:
    """The drawer of a row shows the recorded digits without a new calculation; Escape returns the focus to the row."""
    _get(context, "/factorial/1000", token)
    console.goto("/console/history")
    opener = console.get_by_role("button", name="1000!")
    opener.click()
    drawer = console.get_by_role("dialog", name="Calculation")
    drawer.get_by_role("button", name="Show the digits").click()
    expect(drawer.get_by_text("as recorded")).to_be_visible()  # the digits were compared with their SHA-256
    expect(drawer).to_contain_text("4023872600")  # OEIS A000142
    with console.expect_download() as saving:
        drawer.get_by_role("button", name="Download").click()
    assert saving.value.path().read_text() == str(factorial(1000))
    console.keyboard.press("Escape")
    expect(opener).to_be_focused()
    assert len(_get(context, "/secure-history", token)["items"]) == 1


def test_history_offers_no_more_than_is_recorded(console: Page, context: BrowserContext, token: str) -> None:
    """In the history, a result whose digits are not recorded has no button that shows or downloads them.

    If the operands are recorded only in abbreviated form, there is no button Run again.
    """
    headers = {"Authorization": f"Bearer {token}"}
    for body in (
        {"operation": "factorial", "input": {"n": 1_000_000_000}, "view": "summary"},
        {"operation": "isprime", "input": {"n": "2" * 2_000}},
    ):
        assert context.request.post("/calculations", data=body, headers=headers).status == 201
    console.goto("/console/history")
    drawer = console.get_by_role("dialog", name="Calculation")
    console.get_by_role("row").filter(has_text="1000000000!").get_by_role("button").click()
    expect(drawer.get_by_role("button", name="Run again")).to_be_visible()
    expect(drawer.get_by_role("button", name=re.compile("Download|Show the digits"))).to_have_count(0)
    console.keyboard.press("Escape")
    console.get_by_role("row").filter(has_text="isprime").get_by_role("button").click()
    expect(drawer).to_contain_text("false")
    expect(drawer.get_by_role("button", name="Run again")).to_have_count(0)


def test_history_runs_again_and_compares(console: Page, context: BrowserContext, token: str) -> None:
    """In the history, Run again uses the row's options, and Compare shows the first difference of two results."""
    _get(context, "/fibonacci/100?base=16", token)
    _evaluate(context, token, "10^30+7", "10^30+8")
    console.goto("/console/history")
    console.get_by_role("button", name="fibonacci(100) (base 16)").click()
    console.get_by_role("button", name="Run again").click()
    expect(console.locator("#result")).to_have_text("1333db76a7c594bfc3")  # F(100), OEIS A000045, in base 16
    console.keyboard.press("Escape")
    console.get_by_label("Select to compare: 10^30 + 7").check()
    console.get_by_label("Select to compare: 10^30 + 8").check()
    console.get_by_role("button", name="Compare").click()
    comparison = console.get_by_role("dialog", name="Compare")
    expect(comparison.get_by_role("status")).to_have_text("The values differ first at character 31:")
    expect(comparison.locator("mark")).to_have_text(["7", "8"], use_inner_text=True)


def test_history_opens_a_calculation_with_its_options(console: Page, context: BrowserContext, token: str) -> None:
    """Opening a calculation from the history puts its precision, base or view into the calculator's address."""
    body = {"expression": "2^0.5", "precision": 30}
    headers = {"Authorization": f"Bearer {token}"}
    assert context.request.post("/evaluate", data=body, headers=headers).status == 200
    _get(context, "/fibonacci/100?base=16", token)
    _get(context, "/factorial/1000000000?view=summary", token)
    for row, address in (
        ("2^0.5 (precision 30)", "/?expression=2%5E0.5&precision=30"),
        ("fibonacci(100) (base 16)", "/?expression=fibonacci%28100%29&base=16"),
        ("1000000000! (view summary)", "/?operation=factorial&n=1000000000&view=summary"),
    ):
        console.goto("/console/history")
        console.get_by_role("button", name=row).click()
        console.get_by_role("button", name="Open in the calculator").click()
        expect(console).to_have_url(re.compile(re.escape(address) + "$"))


def test_history_is_exported(console: Page, context: BrowserContext, token: str) -> None:
    """The button Export CSV saves the calculations that the history lists, one in each row."""
    _evaluate(context, token, "6*7")
    console.goto("/console/history")
    with console.expect_download() as saving:
        console.get_by_role("button", name="Export CSV").click()
    assert saving.value.suggested_filename == "history.csv"
    header, row = saving.value.path().read_text().splitlines()
    assert header.startswith("id,operation,input,result")
    assert ",42," in row


def test_usage_shows_totals_and_what_is_left(console: Page, context: BrowserContext, token: str) -> None:
    """The page Usage shows an operation's totals in a table and a chart, and lists the quotas."""
    _evaluate(context, token, "2^100")
    wait_until(lambda: _get(context, "/usage", token)["items"] != [], "the consumer has counted it")
    console.goto("/console/usage")
    row = console.get_by_role("table", name="By operation").get_by_role("row").filter(has_text="evaluate")
    expect(row).to_contain_text("31")
    expect(console.locator("canvas")).to_be_visible()
    console.get_by_text("Show as a table").click()
    expect(console.get_by_role("table", name="Calculations")).to_contain_text("1")
    expect(console.get_by_text("Bytes of results")).to_be_visible()
    console.get_by_role("button", name="Digits").click()
    assert "measure=digits" in console.url


def test_a_key_is_made_shown_once_renewed_and_removed(console: Page, context: BrowserContext) -> None:
    """A new API key works. Renewing replaces it by a second key. After the second key is removed, neither works."""
    console.goto("/console/developers")
    console.get_by_role("button", name="New key").click()
    form = console.get_by_role("dialog", name="New key")
    form.get_by_label("Name", exact=True).fill("nightly report")
    console.keyboard.press("Enter")
    shown = console.get_by_role("dialog", name="Key “nightly report”")
    first = shown.locator("code").inner_text()
    console.keyboard.press("Enter")  # pressed twice in haste, it must not close what is shown only once
    expect(shown).to_be_visible()
    assert _get(context, "/fibonacci/10", first)["result"] == 55
    shown.get_by_role("button", name="I have copied it").click()
    expect(console.get_by_role("table", name="API keys")).to_contain_text("calculate")
    console.get_by_role("button", name="Renew: nightly report").click()
    console.get_by_role("dialog").get_by_role("button", name="Renew").click()
    second = shown.locator("code").inner_text()
    shown.get_by_role("button", name="I have copied it").click()
    expect(console.get_by_role("dialog")).to_have_count(0)
    console.get_by_role("button", name="Remove: nightly report").click()
    console.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(console.get_by_text("You have no keys yet.")).to_be_visible()
    for key in (first, second):
        assert context.request.get("/me", headers={"Authorization": f"Bearer {key}"}).status == 401


def _make_key(console: Page, name: str) -> None:
    console.goto("/console/developers")
    console.get_by_role("button", name="New key").click()
    form = console.get_by_role("dialog", name="New key")
    form.get_by_label("Name", exact=True).fill(name)
    form.get_by_role("button", name="Make the key").click()


def test_the_name_of_a_scope_is_not_broken(console: Page) -> None:
    """An API key's scope stays on one line beside a long key name, in wide and narrow windows."""
    _make_key(console, "the nightly report of the department for integers " * 2)
    console.get_by_role("button", name="I have copied it").click()
    scope = console.get_by_role("table", name="API keys").get_by_text("calculate", exact=True)
    for width in (1280, 390):
        console.set_viewport_size({"width": width, "height": 800})
        assert scope.evaluate(_LINES) == 1


def test_a_name_without_spaces_hides_no_button(console: Page) -> None:
    """A long key name without spaces is wrapped, so that the buttons beside it stay visible in any window."""
    _make_key(console, "nightly_report_" * 6)
    made = console.get_by_role("dialog", name="Key")
    assert made.evaluate("dialog => dialog.scrollWidth <= dialog.clientWidth")
    console.get_by_role("button", name="I have copied it").click()
    remove = console.get_by_role("button", name="Remove")
    for width in (1280, 390):
        console.set_viewport_size({"width": width, "height": 800})
        remove.scroll_into_view_if_needed()
        box = remove.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= width
        assert console.evaluate("document.documentElement.scrollWidth") <= width


def test_a_removed_key_has_no_buttons_until_the_list_is_read_again(console: Page) -> None:
    """After an API key is removed, the buttons beside it stay disabled until the new list of keys is shown."""
    _make_key(console, "nightly report")
    console.get_by_role("button", name="I have copied it").click()
    held: list[Route] = []
    console.route("**/me/keys", lambda route: held.append(route))
    remove = console.get_by_role("button", name="Remove: nightly report")
    remove.click()
    with console.expect_request("**/me/keys"):
        console.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(remove).to_be_disabled()
    held[0].continue_()
    expect(console.get_by_text("You have no keys yet.")).to_be_visible()


def test_a_second_factor_is_set_up(console: Page, context: BrowserContext, username: str) -> None:
    """The QR code contains the TOTP secret; a code made from it turns the second factor on and shows recovery codes."""
    require_program("npm")
    console.emulate_media(color_scheme="dark")
    console.goto("/console/account")
    console.get_by_role("button", name="Set up a second factor").click()
    dialog = console.get_by_role("dialog")
    dialog.get_by_label("Current password").fill(PASSWORD)
    dialog.get_by_role("button", name="Continue").click()
    secret = dialog.locator(".secret").inner_text().replace(" ", "")
    offered = urlsplit(read_qr(dialog.get_by_role("img", name="QR code with the secret")) or "")
    assert (offered.scheme, offered.netloc, offered.path) == ("otpauth", "totp", f"/pycalc:{username}")
    assert parse_qs(offered.query)["secret"] == [secret]
    dialog.get_by_label("Code of the app").fill(code_at(secret, time()))
    dialog.get_by_role("button", name="Turn it on").click()
    expect(dialog.get_by_label("Recovery codes")).to_have_text(re.compile(r"([a-z0-9]{4}-?){6}"))
    dialog.get_by_role("button", name="I have kept them").click()
    expect(console.get_by_role("button", name="Remove the second factor")).to_be_visible()
    refused = context.request.post("/login", data={"username": username, "password": PASSWORD})
    assert refused.json()["type"] == "/docs/problems#totp-required"


def test_sessions_end_and_passwords_change(console: Page, context: BrowserContext, token: str, username: str) -> None:
    """The button in another session's row ends that session. With the current password, a new password can be set."""
    console.goto("/console/account")
    rows = console.get_by_role("table", name="Open sessions").get_by_role("row")
    expect(rows).to_have_count(3)  # the header, this session, and that of `token`
    console.get_by_role("button", name=re.compile("^End: ")).click()
    expect(rows).to_have_count(2)
    assert context.request.get("/me", headers={"Authorization": f"Bearer {token}"}).status == 401
    card = console.get_by_role("region", name="Password")
    card.get_by_label("Current password").fill("not the password")
    card.get_by_label("New password").fill("a fine new pass phrase")
    card.get_by_role("button", name="Change the password").click()
    expect(card.get_by_role("alert")).to_be_visible()
    card.get_by_label("Current password").fill(PASSWORD)
    card.get_by_role("button", name="Change the password").click()
    expect(console.get_by_text("The password is changed.")).to_be_visible()
    data = {"username": username, "password": "a fine new pass phrase"}
    assert context.request.post("/login", data=data).status == 200


def test_an_account_is_deleted_by_its_owner(console: Page, context: BrowserContext, username: str) -> None:
    """The account is deleted only with its exact name and the password; then the console is signed out."""
    console.goto("/console/account")
    console.get_by_role("button", name="Delete my account").click()
    dialog = console.get_by_role("dialog")
    name, password = dialog.get_by_label("Type"), dialog.get_by_label("Current password")
    delete = dialog.get_by_role("button", name="Delete my account")
    name.fill("someone")
    password.fill(PASSWORD)
    delete.click()
    expect(name).to_have_attribute("aria-invalid", "true")
    name.fill(username)
    password.fill("")
    delete.click()
    expect(password).to_have_attribute("aria-invalid", "true")
    password.fill(PASSWORD)
    delete.click()
    expect(console.get_by_role("banner").get_by_role("button", name="Sign in")).to_be_visible()
    assert context.request.post("/login", data={"username": username, "password": PASSWORD}).status == 401


@dataclass(frozen=True, slots=True)
class Office:
    """The URL of a service, and the name of its admin."""

    url: str
    admin: str


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """Run a service, and register its first admin."""
    data = tmp_path_factory.mktemp("office")
    with pycalc(data=data) as running, httpx.Client(base_url=running.url, timeout=30) as client:
        yield Office(running.url, new_admin(client, data).name)


@pytest.fixture
def admin(browser: Browser, office: Office) -> Iterator[Page]:
    """Sign in as an admin in a new browser profile, and return the page Admin."""
    context = browser.new_context(base_url=office.url, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(DEADLINE_MS)
    page = context.new_page()
    page.goto("/console/admin")
    sign_in(page, office.admin)
    yield page
    context.close()


def test_an_admin_finds_limits_disables_and_deletes_a_user(admin: Page) -> None:
    """An admin finds a user by name, sets limits, disables the account, and deletes it after typing the name."""
    name = new_name()
    assert admin.context.request.post("/register", data=registration(name)).status == 201
    admin.get_by_label("Search by name or email").fill(name)
    admin.keyboard.press("Enter")
    admin.get_by_role("button", name=name).click()
    drawer = admin.get_by_role("dialog", name=name)
    drawer.get_by_text("Limits", exact=True).click()
    drawer.get_by_label("Calculations").fill("1 a year")
    drawer.get_by_role("button", name="Save the limits").click()
    expect(drawer.get_by_label("Calculations")).to_have_attribute("aria-invalid", "true")
    expect(drawer.get_by_label("Calculations")).to_have_value("1 a year")
    drawer.get_by_label("Calculations").fill("60/minute")
    drawer.get_by_role("button", name="Save the limits").click()
    expect(admin.get_by_text("The limits are saved.")).to_be_visible()
    drawer.get_by_role("button", name="Disable").click()
    expect(drawer.get_by_text("disabled", exact=True)).to_be_visible()
    drawer.get_by_role("button", name="Delete the account").click()
    sure = admin.get_by_role("dialog", name="Delete the account")
    sure.get_by_label("Type").fill(name)
    sure.get_by_role("button", name="Delete the account").click()
    expect(admin.get_by_text("No account matches.")).to_be_visible()


def test_an_admin_sees_the_calculations_of_all_users(admin: Page, office: Office) -> None:
    """An admin's history lists the calculations of other users with their names, and announces new ones."""
    with httpx.Client(base_url=office.url, timeout=30) as client:
        grace = new_person(client)
        client.get("/factorial/30", headers=grace.headers).raise_for_status()
        admin.goto("/console/history")
        expect(admin.get_by_role("row").filter(has_text=grace.name)).to_contain_text("30!")
        expect(admin.get_by_text("Live", exact=True)).to_be_visible()
        client.get("/factorial/31", headers=grace.headers).raise_for_status()
        admin.get_by_role("button", name="Show 1 new").click()
        expect(admin.get_by_role("row").filter(has_text="31!")).to_contain_text(grace.name)


def test_an_admin_sees_health_and_the_audit_log(admin: Page) -> None:
    """The tab Health lists dependencies and processes; a filter that is typed while the audit log loads is kept."""
    admin.get_by_role("button", name="Health").click()
    expect(admin.get_by_role("table", name="Dependencies")).to_contain_text("Database")
    expect(admin.get_by_role("heading", name="serve")).to_be_visible()
    held: list[Route] = []
    admin.route("**/admin/audit?*", lambda route: route.continue_() if held else held.append(route))
    with admin.expect_request("**/admin/audit?*"):
        admin.get_by_role("button", name="Audit log").click()
    action = admin.get_by_label("Action")
    action.fill("session opened")
    table = admin.get_by_role("table", name="Audit log")
    held[0].continue_()
    expect(table.get_by_text("account created").first).to_be_visible()
    expect(action).to_have_value("session opened")  # the list arrived meanwhile
    action.press("Enter")
    expect(table.get_by_text("account created")).to_have_count(0)
    expect(table.get_by_text("session opened").first).to_be_visible()
    admin.get_by_role("button", name="Dead letters").click()
    expect(admin.get_by_text("There are no dead letters.")).to_be_visible()


def test_slow_health_is_waited_for(admin: Page) -> None:
    """If an answer about health takes longer than the refresh interval, no second request cancels the first one."""
    admin.clock.install()
    asked: list[Route] = []
    admin.route("**/admin/overview", lambda route: asked.append(route))
    with admin.expect_request("**/admin/overview"):
        admin.goto("/console/admin?tab=health")
    admin.clock.fast_forward(15_000)
    asked.pop().continue_()
    expect(admin.get_by_role("table", name="Dependencies")).to_be_visible()
    assert asked == []
    with admin.expect_request("**/admin/overview"):
        admin.clock.fast_forward(5_000)


def test_a_change_of_a_user_on_a_later_page_keeps_the_drawer(admin: Page) -> None:
    """Disabling a user whom Show more has listed keeps the user's drawer open, and the drawer shows the new state."""
    account = {
        "email": "a@example.com",
        "role": "user",
        "totp": False,
        "created_at": "2026-11-30T00:00:00Z",
        "quota": {},
        "last_sign_in_at": None,
        "today": {"calculations": 0, "digits": 0, "compute_ms": 0},
    }
    users = [{**account, "id": str(n), "username": f"user{n:02}", "disabled": False} for n in range(60)]

    def answer(route: Route) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        start, limit = int(query.get("cursor", ["0"])[0]), int(query["limit"][0])
        end = start + limit if start + limit < len(users) else None
        answer_json(route, {"items": users[start:end], "next_cursor": end and str(end)})

    def disable(route: Route) -> None:
        users[55]["disabled"] = True
        answer_json(route, users[55])

    admin.route("**/users?*", answer)
    admin.route("**/users/user55", disable)
    admin.goto("/console/admin")
    admin.get_by_role("button", name="Show more").click()
    admin.get_by_role("button", name="user55").click()
    drawer = admin.get_by_role("dialog", name="user55")
    drawer.get_by_role("button", name="Disable").click()
    expect(drawer.get_by_role("button", name="Enable")).to_be_visible()
    expect(admin.get_by_role("row")).to_have_count(61)


_SMALL_TARGETS = """() => !matchMedia("(pointer: coarse)").matches ? [] : [...document.querySelectorAll(
    "button, summary, select, textarea, label:has([type=checkbox], [type=radio]), .button, .bar a, .links a, " +
    "input:not([type=checkbox], [type=radio], [type=file])")]
  .filter((element) => !element.closest(".foreign") && element.checkVisibility({ visibilityProperty: true }))
  .filter((element) => element.getBoundingClientRect().height < 44)
  .map((element) => `lower than 44 pixels: ${element.outerHTML.slice(0, 120)}`)"""

# Removes the markup of Swagger UI and ReDoc, which takes axe-core seconds even where it is excluded.
_EMPTY_FOREIGN = "document.querySelectorAll('.foreign').forEach((element) => element.replaceChildren())"


def _faults(page: Page) -> list[str]:
    """Return the open page's faults: broken accessibility rules, small touch targets, content wider than the screen."""
    found: list[str] = page.evaluate(_SMALL_TARGETS)
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        found.append("wider than the screen")
    return found + axe.violations(page)


def _dark_faults(page: Page) -> list[str]:
    """Switch the open page to the dark theme, and return the rules about colors that it breaks there."""
    if page.url.endswith("/redoc"):  # ReDoc changes its colors by a reload
        with page.expect_event("load"):
            page.emulate_media(color_scheme="dark")
    else:
        page.emulate_media(color_scheme="dark")
    page.evaluate(_EMPTY_FOREIGN)
    found = axe.violations(page, tag="cat.color")
    return [f"dark: {fault}" for fault in found]


@pytest.mark.parametrize("screen", SCREENS)
def test_no_page_breaks_an_accessibility_rule(browser: Browser, office: Office, screen: str) -> None:
    """For an admin, no page breaks a rule of axe-core, has too small touch targets or is wider than the screen."""
    require_program("npm")
    context = browser.new_context(base_url=office.url, bypass_csp=True, **SCREENS[screen])
    context.set_default_timeout(DEADLINE_MS)
    page = context.new_page()
    page.goto("/")
    sign_in(page, office.admin)
    broken = {}
    for path in (*PAGES, *ADMIN_PAGES, *OTHER_PAGES):
        page.emulate_media(color_scheme="light")
        page.goto(path)
        expect(page.locator(".skeleton")).to_have_count(0)
        expect(page.locator("h1, h2").first).to_be_visible()
        if found := _faults(page) + _dark_faults(page):
            broken[path] = found
    context.close()
    assert broken == {}


def _open_options(page: Page) -> None:
    page.goto("/?operation=pow&x=2&y=0.5")
    page.get_by_text("Options", exact=True).click()


def _open_viewer(page: Page) -> None:
    page.goto("/")
    calculate(page, "2^10000")
    page.get_by_role("button", name="All digits").click()
    expect(page.get_by_text("as recorded")).to_be_visible()
    page.get_by_text("How often each digit occurs").click()
    page.get_by_text("The same in curl").click()


def _open_error(page: Page) -> None:
    page.goto("/")
    calculate(page, "1/0")
    expect(page.get_by_role("alert")).to_be_visible()


def _open_batch(page: Page) -> None:
    page.goto("/console/batch")
    page.get_by_role("button", name="Fill in an example").click()
    page.get_by_role("button", name="Calculate all").click()
    expect(page.get_by_role("button", name="Download CSV")).to_be_visible()


def _open_row(page: Page) -> None:
    page.goto("/console/history")
    page.get_by_role("button", name="2^10000").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()


def _open_key_form(page: Page) -> None:
    page.goto("/console/developers")
    page.get_by_role("button", name="New key").click()
    page.get_by_text("Limits and spreadsheets").click()


def _open_second_factor(page: Page) -> None:
    page.goto("/console/account")
    page.get_by_role("button", name="Set up a second factor").click()
    page.get_by_role("dialog").get_by_label("Current password").fill(PASSWORD)
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("img", name="QR code with the secret")).to_be_visible()


def _open_menu(page: Page) -> None:
    page.goto("/")
    page.locator(".menu-button").click()
    expect(page.get_by_label("Theme")).to_be_visible()


def _open_palette(page: Page) -> None:
    page.goto("/")
    page.locator(".menu-button").wait_for()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("listbox")).to_be_visible()


OPENED = (
    _open_options,
    _open_viewer,
    _open_error,
    _open_batch,
    _open_row,
    _open_key_form,
    _open_second_factor,
    _open_menu,
    _open_palette,
)


@pytest.mark.parametrize("screen", SCREENS)
def test_no_opened_part_breaks_an_accessibility_rule(browser: Browser, office: Office, screen: str) -> None:
    """For a user, no result, dialog, drawer or menu breaks a rule of axe-core or makes a page wider than the screen."""
    require_program("npm")
    context = browser.new_context(base_url=office.url, bypass_csp=True, **SCREENS[screen])
    context.set_default_timeout(DEADLINE_MS)
    name = new_name()
    assert context.request.post("/register", data=registration(name)).status == 201
    page = context.new_page()
    page.goto("/")
    sign_in(page, name)
    broken = {}
    for opened in OPENED:
        page.emulate_media(color_scheme="light")
        opened(page)
        if found := _faults(page) + _dark_faults(page):
            broken[opened.__name__] = found
    context.close()
    assert broken == {}
