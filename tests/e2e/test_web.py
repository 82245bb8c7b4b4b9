"""The web pages in a real browser without access to other hosts: header, sign-in, Calculate, and documentation."""

from __future__ import annotations

import re
from pathlib import Path
from time import time
from typing import Literal

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests.harness.accounts import PASSWORD, new_admin, new_name, new_person, registration
from tests.harness.console import (
    answer_json,
    answer_once,
    calculate,
    fill_sign_in,
    open_sign_in,
    registration_form,
    sign_in,
    sign_out,
)
from tests.harness.one_time_codes import code_at
from tests.harness.page_speed import first_page
from tests.harness.servers import Server, pycalc

# OEIS A000045.
F_100 = "354224848179261915075"
F_1000 = (
    "43466557686937456435688527675040625802564660517371780402481729089536555417949051890403879840079255169295922593"
    "080322634775209689623239873322471161642996440906533187938298969649928516003704476137795166849228875"
)
PAGES = ("history", "batch", "usage", "developers", "account")


def test_docs_list_the_operations(page: Page) -> None:
    """The API documentation shows the calculations without access to any other host."""
    page.goto("/docs")
    for path in ("/fibonacci/{n}", "/factorial/{n}", "/pow/{x}/{y}"):
        expect(page.locator(f'.opblock-summary-path[data-path="{path}"]')).to_be_visible()


def test_docs_authorize_and_store_nothing(page: Page, username: str) -> None:
    """In the API documentation, Authorize logs in, and requests carry the token; the browser stores no secret."""
    page.goto("/healthz")
    page.evaluate("localStorage.setItem('authorized', 'the password, as an earlier release kept it')")
    page.goto("/docs")
    page.get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".modal-ux")
    form = dialog.locator(".auth-container").filter(has_text="OAuth2PasswordBearer")  # the other form takes API keys
    form.locator("#oauth_username").fill(username)
    form.locator("#oauth_password").fill(PASSWORD)
    form.get_by_text("Authorize", exact=True).click()
    expect(form.get_by_text("Logout", exact=True)).to_be_visible()
    form.get_by_text("Close", exact=True).click()

    operation = page.locator(".opblock", has=page.locator('[data-path="/fibonacci/{n}"]'))
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_placeholder("n", exact=True).fill("100")
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
    expect(operation.locator(".live-responses-table")).to_contain_text(F_100)
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    page.goto("/healthz")
    page.goto("/docs")
    page.get_by_role("button", name="Authorize").first.click()
    expect(dialog.locator("#oauth_password")).to_be_empty()


def test_reference_renders(page: Page) -> None:
    """The API reference shows the calculations, and its search works, without access to any other host."""
    page.goto("/redoc")
    for operation in ("Fibonacci number", "Factorial", "Power"):
        expect(page.get_by_role("heading", name=re.compile(rf" {operation}$"))).to_be_visible()
    page.get_by_placeholder("Search...").fill("factorial")
    expect(page.locator("[data-role='search:results']")).to_contain_text("Factorial")


def test_register_opens_a_session(page: Page) -> None:
    """A new account is signed in at once; signing out ends the session, and signing in opens another."""
    name = new_name()
    page.goto("/")
    registration_form(page, name).get_by_role("button", name="Create account").click()
    expect(page.get_by_role("banner")).to_contain_text(name)
    sign_out(page)
    expect(page.get_by_role("banner").get_by_role("button", name="Sign in")).to_be_visible()
    assert page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]
    sign_in(page, name)


def test_refused_login_is_explained(page: Page, username: str) -> None:
    """A wrong password shows the problem's title and detail with a link to its type."""
    page.goto("/")
    with page.expect_response("**/login") as refused:
        fill_sign_in(open_sign_in(page), username, "not the password")
    problem = refused.value.json()
    expect(page.get_by_role("alert")).to_contain_text(problem["title"])
    expect(page.get_by_role("alert")).to_contain_text(problem["detail"])
    expect(page.get_by_role("alert").get_by_role("link")).to_have_attribute("href", problem["type"])


def test_a_second_factor_is_asked_for(page: Page, context: BrowserContext, username: str, token: str) -> None:
    """After a correct password, a field for the second factor appears; a recovery code in it opens the session."""
    headers = {"Authorization": f"Bearer {token}"}
    offered = context.request.post("/me/totp", data={"password": PASSWORD}, headers=headers)
    code = code_at(offered.json()["secret"], time())
    confirmed = context.request.post("/me/totp/confirm", data={"totp": code}, headers=headers)
    page.goto("/")
    dialog = open_sign_in(page)
    field = page.get_by_label("Code of your authenticator app")
    expect(field).to_be_hidden()
    expect(page.get_by_role("link", name="Sign in with your organisation")).to_be_hidden()
    fill_sign_in(dialog, username)
    field.fill(confirmed.json()["recovery_codes"][0])
    dialog.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("banner")).to_contain_text(username)


def test_invalid_registration_is_explained_at_its_field(page: Page) -> None:
    """An error in a 422 is shown at the form field that its JSON pointer names, and the field is marked invalid."""
    page.goto("/")
    form = registration_form(page, new_name())
    form.get_by_label("Email").fill("not an address")
    with page.expect_response("**/register") as refused:
        form.get_by_role("button", name="Create account").click()
    (error,) = refused.value.json()["errors"]
    assert error["pointer"] == "/email"
    expect(form.get_by_label("Email")).to_have_attribute("aria-invalid", "true")
    expect(form.get_by_label("Email")).to_have_accessible_description(error["detail"])
    expect(form.get_by_label("Email")).to_be_focused()


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("fibonacci(1000)", F_1000),
        ("9007199254740991", "9007199254740991"),
        ("9007199254740993", "9007199254740993"),
        ("(-3)^41", "-36472996377170786403"),
        ("0.1^20", "0.00000000000000000001"),
        ("1/3", "1/3"),
        ("factorize(360)", "2^3 × 3^2 × 5"),
        ("isprime(91)", "false"),
        ("iroot(99, 2)", "9, remainder 18"),
    ],
)
def test_no_result_is_rounded(console: Page, expression: str, result: str) -> None:
    """Results of every kind are shown exactly, without rounding by JavaScript."""
    calculate(console, expression)
    expect(console.get_by_role("group", name=f"Result of {expression}")).to_have_text(result)


def test_a_link_keeps_its_expression_through_sign_in(page: Page, username: str) -> None:
    """A shared link fills in its expression; signing in calculates it, and Back returns to the earlier expression."""
    page.goto("/?expression=2%5E10")
    page.get_by_role("button", name="Calculate", exact=True).click()
    fill_sign_in(page.get_by_role("dialog", name="Sign in"), username)
    expect(page.locator("#result")).to_have_text("1024")
    calculate(page, "2^11")
    expect(page.locator("#result")).to_have_text("2048")
    assert page.url.endswith("/?expression=2%5E11")
    page.go_back()
    expect(page.get_by_label("Expression")).to_have_value("2^10")


def test_cancel_keeps_the_last_result(console: Page) -> None:
    """The button Cancel aborts the request, and the last result stays."""
    calculate(console, "fibonacci(10)")
    expect(console.locator("#result")).to_have_text("55")
    pending: list[Route] = []
    console.route("**/evaluate", lambda route: pending.append(route))
    calculate(console, "100!")
    expect(console.get_by_text("Computing")).to_be_visible()
    with console.expect_event("requestfailed", lambda request: "/evaluate" in request.url):
        console.get_by_role("button", name="Cancel").click()
    expect(console.get_by_role("button", name="Calculate", exact=True)).to_be_focused()
    expect(console.locator("#result")).to_have_text("55")
    expect(console.get_by_role("alert")).to_have_count(0)


def test_a_computation_that_has_waited_is_told_as_such(console: Page) -> None:
    """If an answer takes longer than the computation's time limit, the page says that the computation had to wait."""
    known = {"expression": "100!", "digits": 158, "exact": True, "too_large": False, "seconds": 0.1, "timeout": 0.1}
    console.route("**/evaluate/preview", lambda route: answer_json(route, known))
    console.get_by_label("Expression").fill("100!")
    expect(console.locator("#preview")).to_contain_text("158 digits")
    console.route("**/evaluate", lambda _: None)  # no answer
    console.get_by_role("button", name="Calculate", exact=True).click()
    expect(console.get_by_text("Computing after a wait for its turn")).to_be_visible()
    console.get_by_role("button", name="Cancel").click()


def test_long_result_shows_its_ends_and_downloads_whole(console: Page, tmp_path: Path) -> None:
    """The page shows only the first and last digits of a result with 20,001 digits; the download has all of them."""
    calculate(console, "10^20000")
    expect(console.locator(".omitted")).to_contain_text("19,001 more digits")
    assert len(console.locator("#result").text_content() or "") < 1_200
    with console.expect_download() as saved:
        console.get_by_role("button", name="Download").click()
    saved.value.save_as(tmp_path / "digits.txt")
    assert (tmp_path / "digits.txt").read_text() == "1" + "0" * 20_000


def test_copy_takes_every_digit(console: Page, context: BrowserContext) -> None:
    """The button Copy puts the digits on the clipboard, without the spaces between their groups."""
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    calculate(console, "fibonacci(1000)")
    console.get_by_role("button", name="Copy").click()
    expect(console.get_by_role("button", name="Copied")).to_be_visible()
    assert console.evaluate("navigator.clipboard.readText()") == F_1000


def test_a_result_that_is_too_long_is_no_error(console: Page) -> None:
    """A result that is too large to be written out is shown by its number of digits, and not as an error."""
    problem = {
        "type": "/docs/problems#result-too-large",
        "title": "The result is too large",
        "status": 422,
        "digits": 1_000_000_001,
        "limit": 20_000_000,
        "leading": "10000000000000000000",
        "trailing": "00000000000000000000",
    }
    console.route("**/evaluate", lambda route: answer_json(route, problem, 422))
    calculate(console, "10^(10^9)")
    expect(console.get_by_role("heading", name="Too long to write out")).to_be_visible()
    expect(console.locator(".result")).to_contain_text("1,000,000,001 digits")
    expect(console.get_by_role("alert")).to_have_count(0)


def test_unreachable_service_is_explained(console: Page) -> None:
    """If the service can't be reached, the page says so, and a second try works."""
    answer_once(console, "**/evaluate", lambda route: route.abort())
    calculate(console, "fibonacci(10)")
    expect(console.get_by_role("alert")).to_contain_text("could not be reached")
    console.get_by_role("button", name="Try again").click()
    expect(console.locator("#result")).to_have_text("55")


def test_a_rate_limit_counts_down(console: Page) -> None:
    """A 429 shows a countdown of the time to wait, and then offers to try again."""
    console.clock.install()
    limited = {"type": "/docs/problems#rate-limited", "title": "Too many requests", "status": 429}
    headers = {"Retry-After": "3600"}
    answer_once(console, "**/evaluate", lambda route: route.fulfill(status=429, headers=headers, json=limited))
    calculate(console, "fibonacci(10)")
    again = console.get_by_role("button", name="Try again")
    expect(console.get_by_role("alert")).to_contain_text(re.compile(r"Try again in 3,5\d\d s\."))  # it counts down
    expect(again).to_be_disabled()
    console.clock.fast_forward(1_800_000)
    expect(console.get_by_role("alert")).to_contain_text(re.compile(r"Try again in 1,[78]\d\d s\."))
    console.clock.fast_forward(1_800_000)
    again.click()
    expect(console.locator("#result")).to_have_text("55")


def test_data_is_never_markup(console: Page) -> None:
    """Markup in problems and results is shown as text."""
    attack = "<img src=x onerror=alert(1)>"
    problem = {"title": attack, "detail": attack, "status": 422, "errors": [{"pointer": attack, "detail": attack}]}
    answer_once(console, "**/evaluate", lambda route: answer_json(route, problem, 422))
    calculate(console, attack)
    expect(console.get_by_role("alert")).to_contain_text(attack)
    result = {"id": attack, "operation": attack, "result": attack, "digits": 1, "exact": True, "elapsed_ms": 1}
    answer_once(console, "**/evaluate", lambda route: answer_json(route, result))
    calculate(console, attack)
    expect(console.locator("#result")).to_have_text(attack)
    expect(console.locator("main img")).to_have_count(0)


def test_session_survives_a_reload(console: Page, username: str) -> None:
    """The tab stays signed in after each reload."""
    for _ in range(3):
        expect(console.get_by_role("banner")).to_contain_text(username)
        console.reload()
    calculate(console, "fibonacci(10)")
    expect(console.locator("#result")).to_have_text("55")


def test_ended_session_asks_to_sign_in(console: Page) -> None:
    """If the service refuses the access token and its renewal, the page says so and forgets the session."""
    refused = {"title": "Unauthorized", "status": 401, "detail": "The session has ended."}
    console.route("**/evaluate", lambda route: answer_json(route, refused, 401))
    console.route("**/token/refresh", lambda route: answer_json(route, refused, 401))
    calculate(console, "fibonacci(11)")
    expect(console.get_by_text("Your session has ended")).to_be_visible()
    expect(console.get_by_role("banner").get_by_role("button", name="Sign in")).to_be_visible()
    assert console.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]


def test_expired_token_is_renewed(console: Page) -> None:
    """An expired access token is renewed with the cookie, and the calculation continues."""
    answer_once(console, "**/evaluate", lambda route: answer_json(route, {"title": "Unauthorized"}, 401))
    with console.expect_response("**/token/refresh") as renewal:
        calculate(console, "fibonacci(10)")
    assert renewal.value.request.post_data_json == {"cookie": True}
    assert "refresh_token" not in renewal.value.json()
    expect(console.locator("#result")).to_have_text("55")


@pytest.mark.parametrize("locks", [True, False])
def test_tabs_that_renew_at_once_stay_signed_in(
    console: Page, context: BrowserContext, username: str, *, locks: bool
) -> None:
    """If two tabs' access tokens expire together, both tabs renew them, with and without the Web Locks API."""
    if not locks:
        context.add_init_script("Object.defineProperty(navigator, 'locks', { value: undefined })")
        console.reload()
    other = context.new_page()
    other.goto("/")
    tabs = (console, other)
    for n in range(20, 23):
        for tab in tabs:
            expect(tab.get_by_role("banner")).to_contain_text(username)
            answer_once(tab, "**/evaluate", lambda route: answer_json(route, {"title": "Unauthorized"}, 401))
        with other.expect_response("**/token/refresh") as second, console.expect_response("**/token/refresh") as first:
            for tab in tabs:
                calculate(tab, f"fibonacci({n})")
        assert (first.value.status, second.value.status) == (200, 200)
        for tab in tabs:
            expect(tab.get_by_role("group", name=f"Result of fibonacci({n})")).to_be_visible()


def test_tabs_sign_in_and_out_together(console: Page, context: BrowserContext, username: str) -> None:
    """A second tab is signed in too; signing in or out in one tab does the same in the other."""
    other = context.new_page()
    other.goto("/")
    expect(other.get_by_role("banner")).to_contain_text(username)
    sign_out(console)
    for tab in (console, other):
        expect(tab.get_by_role("banner").get_by_role("button", name="Sign in")).to_be_visible()
    heir = new_name()
    assert context.request.post("/register", data=registration(heir)).status == 201
    sign_in(other, heir)
    for tab in (console, other):
        expect(tab.get_by_role("banner")).to_contain_text(heir)
        calculate(tab, "fibonacci(10)")
        expect(tab.locator("#result")).to_have_text("55")


def test_a_failed_sign_out_is_shown_as_such(console: Page, context: BrowserContext, username: str) -> None:
    """If the service fails to end the session, the page says so and stays signed in; a second try ends the session."""
    answer_once(console, "**/logout", lambda route: answer_json(route, {"title": "Unavailable"}, 503))
    sign_out(console)
    expect(console.get_by_text("You are still signed in")).to_be_visible()
    expect(console.get_by_role("banner")).to_contain_text(username)
    console.get_by_role("button", name="Try again").click()
    expect(console.get_by_role("banner").get_by_role("button", name="Sign in")).to_be_visible()
    assert context.cookies(f"{console.url}token/refresh") == []


def test_no_script_can_read_the_session(console: Page, context: BrowserContext) -> None:
    """The refresh token is in an HttpOnly cookie for the path /token; no token is in the page's storage."""
    (cookie,) = context.cookies(f"{console.url}token/refresh")
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"], cookie["path"]) == (
        True,
        True,
        "Strict",
        "/token",
    )
    assert cookie["value"].startswith("pcr_")
    assert context.cookies(console.url) == []
    assert console.evaluate("document.cookie") == ""
    readable = console.evaluate("JSON.stringify([{ ...localStorage }, { ...sessionStorage }])")
    assert re.fullmatch(r'\[\{"pycalc.signed-in":"\d+"\},\{\}\]', readable)
    sign_out(console)
    expect(console.get_by_role("banner").get_by_role("button", name="Sign in")).to_be_visible()
    assert context.cookies(f"{console.url}token/refresh") == []


def test_the_first_admin_registers_with_the_bootstrap_token(browser: Browser, tmp_path: Path) -> None:
    """The registration form accepts the bootstrap token, and the new account is an admin."""
    with pycalc(data=tmp_path) as own:
        page = browser.new_page(base_url=own.url)
        page.goto("/console/admin")
        form = registration_form(page, new_name())
        form.get_by_text("Administrator account").click()
        form.get_by_label("Bootstrap token").fill((tmp_path / "bootstrap-token").read_text())
        form.get_by_role("button", name="Create account").click()
        expect(page.get_by_role("heading", name="Admin")).to_be_visible()
        expect(page.get_by_text("This page is for admins")).to_be_hidden()
        page.context.close()


def test_a_reset_link_sets_a_new_password(browser: Browser, tmp_path: Path) -> None:
    """The link of an admin's password reset opens a form for a new password; its token disappears from the address."""
    with pycalc(data=tmp_path) as own, httpx.Client(base_url=own.url, timeout=30) as client:
        admin, grace = new_admin(client, tmp_path), new_person(client)
        made = client.post(f"/users/{grace.name}/password-reset", headers=admin.headers).json()
        page = browser.new_page(base_url=own.url)
        page.goto(made["link"])
        field = page.get_by_label("New password", exact=True)
        expect(field).to_be_focused()
        field.fill("password")
        page.get_by_role("button", name="Set the password").click()
        expect(field).to_have_accessible_description(re.compile("too easy to guess"))
        field.fill("a quite different password")
        page.get_by_role("button", name="Set the password").click()
        expect(page.get_by_text("The password is changed")).to_be_visible()
        assert page.url == f"{own.url}/"
        fill_sign_in(page.get_by_role("dialog", name="Sign in"), grace.name, "a quite different password")
        expect(page.get_by_role("banner")).to_contain_text(grace.name)
        page.context.close()


def test_a_reset_token_gets_into_no_other_address(page: Page) -> None:
    """When the page adds an option to its address, it removes a reset token from the fragment or the query."""
    page.goto("/#password-reset=pcp_SECRETTOKEN")
    expect(page.get_by_label("New password", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_text("Options", exact=True).click()
    page.get_by_label("base").fill("16")
    expect(page).to_have_url(re.compile(r"/\?base=16$"))
    page.goto("/?token=pcp_SECRETTOKEN&expression=255")
    page.get_by_text("Options", exact=True).click()
    page.get_by_label("base").fill("16")
    expect(page).to_have_url(re.compile(r"/\?expression=255&base=16$"))


def test_keyboard_alone_is_enough(page: Page, username: str) -> None:
    """Calculating, signing in and going to another page work by keyboard alone, and the focus follows."""
    page.goto("/")
    expect(page.get_by_label("Expression")).to_be_focused()
    page.keyboard.type("20!")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Username")).to_be_focused()
    page.keyboard.type(username)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("#result")).to_have_text("2432902008176640000")
    expect(page.get_by_label("Expression")).to_be_focused()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox", name="Search pages and actions")).to_be_focused()
    page.keyboard.type("history")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="History")).to_be_focused()
    expect(page).to_have_title("History · pycalc")


def test_what_is_typed_at_once_is_kept(page: Page) -> None:
    """Text that is typed as soon as the expression's field takes input is still there when the page is complete."""
    page.add_init_script("""
        const mark = performance.mark.bind(performance);
        performance.mark = (name) => {
          const field = document.getElementById("expression");
          queueMicrotask(() => { field.value = "2^10"; field.dispatchEvent(new Event("input", { bubbles: true })); });
          return mark(name);
        };""")
    page.goto("/")
    expect(page.get_by_role("banner").get_by_role("button", name="Sign in")).to_be_visible()
    expect(page.get_by_role("button", name="fibonacci", exact=True)).to_be_visible()
    expect(page.get_by_label("Expression")).to_have_value("2^10")


def test_pages_belong_to_an_account(page: Page, username: str) -> None:
    """A page that needs a session offers to sign in, and appears afterwards; an unknown page has a link home."""
    page.goto("/console/history")
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    fill_sign_in(page.get_by_role("dialog", name="Sign in"), username)
    expect(page.get_by_role("main").get_by_role("button", name="Sign in")).to_be_hidden()
    expect(page.get_by_role("heading", name="History")).to_be_visible()
    page.goto("/console/nothing")
    page.get_by_role("link", name="Go to the calculator").click()
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page.get_by_label("Expression")).to_be_visible()


def test_language_and_theme_are_kept(page: Page) -> None:
    """The chosen language and theme apply at once, and to pages that are opened later, also of the documentation."""

    def expect_the_choice() -> None:
        expect(page.get_by_role("link", name="Verlauf")).to_be_visible()
        assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"

    page.goto("/")
    page.locator(".menu-button").click()
    page.get_by_label("Theme").select_option("dark")
    page.get_by_label("Language").select_option("de")
    expect_the_choice()
    for path in ("/", "/docs/problems"):
        page.goto(path)
        expect_the_choice()


def test_a_german_browser_gets_german_texts_numbers_and_dates(browser: Browser, server: Server) -> None:
    """In a German browser, the texts, numbers and dates of the pages are German."""
    context = browser.new_context(base_url=server.url, locale="de-DE")
    page = context.new_page()
    name = new_name()
    assert context.request.post("/register", data=registration(name)).status == 201
    page.goto("/?expression=10%5E2000")
    page.get_by_role("button", name="Rechnen", exact=True).click()
    dialog = page.get_by_role("dialog", name="Anmelden")
    dialog.get_by_label("Benutzername").fill(name)
    dialog.get_by_label("Passwort", exact=True).fill(PASSWORD)
    dialog.get_by_role("button", name="Anmelden", exact=True).first.click()
    expect(page.locator(".facts")).to_contain_text("2.001 Ziffern")
    page.goto("/console/history")
    expect(page.get_by_role("row").filter(has_text="2.001").locator("time")).to_have_text(
        re.compile(r"^\d\d\.\d\d\.20\d\d, ")
    )
    context.close()


def test_a_result_is_printed_in_black_on_white(console: Page) -> None:
    """In print, the dark theme shows the result dark on white.

    The page's header is hidden, and so are all buttons except those that look like links.
    """
    console.emulate_media(color_scheme="dark")
    calculate(console, "2^100")
    expect(console.locator("#result")).to_be_visible()
    console.emulate_media(color_scheme="dark", media="print")
    expect(console.locator("#result")).to_have_css("color", "rgb(23, 32, 30)")
    expect(console.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")
    expect(console.locator("header, main button:not(.link)").filter(visible=True)).to_have_count(0)


def test_forced_colours_keep_what_is_chosen_apart(console: Page) -> None:
    """If readers force their own colours, buttons have borders, and the selected one has the highlight colour."""
    console.emulate_media(forced_colors="active")
    chosen, other = (console.get_by_role("button", name=name, exact=True) for name in ("Expression", "pow"))
    for button in (chosen, other):
        expect(button).to_have_css("border-top-width", "1px")
    highlight = chosen.evaluate("""element => {
      element.ownerDocument.body.style.cssText = "forced-color-adjust: none; background: Highlight";
      return getComputedStyle(document.body).backgroundColor;
    }""")
    expect(chosen).to_have_css("background-color", highlight)
    expect(other).not_to_have_css("background-color", highlight)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_screen_needs_no_sideways_scrolling(console: Page, scheme: Literal["light", "dark"]) -> None:
    """At 360 pixels no page scrolls sideways, in light and in dark mode."""
    console.emulate_media(color_scheme=scheme)
    console.set_viewport_size({"width": 360, "height": 740})
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    calculate(console, "10^20000")
    expect(console.locator("#result")).to_be_visible()
    assert console.evaluate(overflow) == 0
    for name in PAGES:
        console.goto(f"/console/{name}")
        expect(console.get_by_role("heading", level=1)).to_be_visible()
        assert console.evaluate(overflow) == 0, name
    console.goto("/console/developers")  # the row of links is scrolled to the current one
    expect(console.get_by_role("link", name="Developers")).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize(("locale", "title"), [("en-GB", "Calculate"), ("de-AT", "Rechnen")])
def test_the_first_page_is_small(browser: Browser, server: Server, locale: str, title: str) -> None:
    """In each language, the page Calculate accepts input after six requests, which load less than 45 kB."""
    context = browser.new_context(base_url=server.url, locale=locale)
    page = context.new_page()
    first = first_page(page)
    expect(page.get_by_role("button", name=title, exact=True)).to_be_visible()
    context.close()
    assert first.requests == 6
    assert first.bytes < 45_000
