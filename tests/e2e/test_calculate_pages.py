"""The pages Calculate and Batch and the digit viewer, used in a real browser."""

from __future__ import annotations

import csv
import json
import re
from io import StringIO
from pathlib import Path

import pytest
from gmpy2 import mpz
from playwright.sync_api import Page, Request, expect

from tests.harness.accounts import PASSWORD
from tests.harness.console import (
    TWENTY_MILLION_DIGITS,
    calculate,
    fill_sign_in,
    go_to_digit,
    search_digits,
    view_digits,
)

ROOT_OF_2 = "1.41421356237309504880168872421"  # OEIS A002193, rounded to 30 digits
CALCULATE = "Calculate"


def test_a_size_is_known_while_typing(console: Page) -> None:
    """When 3^(10^12) is typed, its number of digits is shown; a button then shows its first and last digits."""
    console.get_by_label("Expression").fill("3^(10^12)")
    expect(console.locator("#preview")).to_contain_text("477 billion digits: too long to write out.")
    console.get_by_role("button", name="Show both ends").click()
    expect(console.locator("#result")).to_have_text(re.compile(r"^4596606\d{13}…78655220000000000001$"))
    expect(console.locator(".facts")).to_contain_text("477,121,254,720 digits")
    assert console.url.endswith("/?operation=pow&x=3&y=1000000000000&view=summary")
    console.reload()
    expect(console.get_by_label("y", exact=True)).to_have_value("1000000000000")
    expect(console.get_by_label("size and both ends")).to_be_checked()


def test_an_error_is_marked_at_its_place(console: Page) -> None:
    """If a number is missing before ``)``, the parenthesis is marked, and the field's description names it."""
    field = console.get_by_label("Expression")
    field.fill("1 + (2 * )3")
    expect(console.locator(".marks mark")).to_have_text(")")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description(re.compile(r"A number is missing before \)"))
    field.fill("1 + (2 * 3)")
    expect(console.locator("#preview")).to_contain_text("1 + 2 * 3")
    expect(console.locator(".marks mark")).to_have_count(0)


def test_a_too_large_result_has_a_way_on(console: Page) -> None:
    """If a result is too large, the page shows its last digits, and the user can choose how many."""
    calculate(console, "3^(10^12)")
    card = console.get_by_role("region", name="Too long to write out")
    expect(card).to_contain_text("…78655220000000000001")
    card.get_by_label("How many of the last digits").fill("5")
    card.get_by_role("button", name="Show the last digits").click()
    expect(console.get_by_label("Expression")).to_have_value("(3^(10^12)) mod 10^5")
    expect(console.locator("#result")).to_have_text("1")  # ...00001


def test_last_digits_are_those_of_the_base(console: Page) -> None:
    """Each button for the last digits of a result keeps the chosen base, and shows the digits in that base."""
    result = console.locator("#result")
    card = console.get_by_role("region", name="Too long to write out")
    show = card.get_by_role("button", name="Show the last digits")
    console.goto("/?expression=3%5E(10%5E12)&base=16")
    console.get_by_role("button", name="Show the last 100 digits").click()
    expect(result).to_have_text(f"{pow(3, 10**12, 16**100):x}")
    assert console.url.endswith("/?expression=%283%5E%2810%5E12%29%29%20mod%2016%5E100&base=16")
    calculate(console, "3^(10^12)")
    expect(card).to_contain_text("in decimal, its last digits in base 16")
    card.get_by_label("How many of the last digits").fill("5")
    show.click()
    expect(console.get_by_label("Expression")).to_have_value("(3^(10^12)) mod 16^5")
    expect(result).to_have_text(f"{pow(3, 10**12, 16**5):x}")
    console.goto("/?operation=pow&x=3&y=1000000000000&base=16")
    console.get_by_role("button", name=CALCULATE, exact=True).click()
    show.click()
    expect(result).to_have_text(f"{pow(3, 10**12, 16**20):x}")
    console.goto("/?expression=2%5E0.5&base=16")
    expect(console.locator("#preview")).to_contain_text("irrational")
    expect(console.get_by_role("button", name="Round to 50 digits")).to_have_count(0)  # a rounded value has no base


def test_an_old_error_of_an_option_takes_no_focus(console: Page) -> None:
    """If the service has refused a base, the base's field shows the error only while the address has this base.

    If the user then opens the form of the operation pow, an alert shows the error.
    """
    console.goto("/?expression=255&base=99")
    console.get_by_role("button", name=CALCULATE, exact=True).click()
    base = console.get_by_label("base")
    expect(base).to_be_focused()
    header = console.get_by_role("banner")
    header.get_by_role("link", name="History").click()
    expect(console.get_by_role("heading", name="History")).to_be_visible()
    header.get_by_role("link", name=CALCULATE).click()
    console.get_by_label("Expression").fill("2^40")
    expect(console.locator("#preview")).to_contain_text("13 digits")
    expect(base).to_be_hidden()
    expect(base).not_to_have_attribute("aria-invalid", "true")
    console.get_by_role("button", name="pow", exact=True).click()
    expect(console.get_by_role("alert")).to_contain_text("base must be a whole number from 2 to 36")


def test_a_form_is_kept_through_sign_in_and_reload(page: Page, username: str) -> None:
    """Operands in the address fill the form, also after sign-in and reload; rounded and cached results are marked."""
    page.goto("/?operation=pow&x=2&y=0.5&precision=30")
    page.get_by_label("y", exact=True).press("Control+Enter")
    fill_sign_in(page.get_by_role("dialog", name="Sign in"), username, PASSWORD)
    expect(page.locator("#result")).to_have_text(ROOT_OF_2)
    expect(page.locator(".facts .chip.warn")).to_have_text("rounded")
    page.reload()
    expect(page.get_by_label("precision")).to_have_value("30")
    button = page.get_by_role("button", name=CALCULATE, exact=True)
    button.click()
    expect(page.locator(".facts")).to_contain_text("cached")
    expect(button).to_be_focused()


def test_options_of_an_expression_are_kept_in_the_address(console: Page) -> None:
    """An expression's precision and base are kept in the address; if one is invalid, the section Options is opened."""
    console.get_by_text("Options", exact=True).click()
    precision, base = (console.get_by_label(name, exact=True) for name in ("precision", "base"))
    precision.fill("30")
    calculate(console, "2^0.5")
    expect(console.locator("#result")).to_have_text(ROOT_OF_2)
    expect(console.get_by_role("heading", name="2^0.5 (precision 30) =", exact=True)).to_be_visible()
    assert console.url.endswith("/?expression=2%5E0.5&precision=30")
    console.reload()
    expect(precision).to_have_value("30")
    precision.fill("")
    base.fill("16")
    console.get_by_label("Expression").fill("2^40 - 1")
    base.press("Enter")
    expect(console.locator("#result")).to_have_text("ffffffffff")
    expect(console.get_by_role("heading", name="2^40 - 1 (base 16) =", exact=True)).to_be_visible()
    assert console.url.endswith("/?expression=2%5E40%20-%201&base=16")
    expect(console.locator("#preview")).to_be_empty()  # the result tells more
    base.fill("2")
    expect(console.locator("#preview")).to_contain_text("13 digits")
    base.fill("two")
    base.press("Enter")
    expect(base).to_have_accessible_description(re.compile("base must be a number"))
    base.fill("99")
    console.get_by_text("Options", exact=True).click()
    expect(base).to_be_hidden()
    console.get_by_role("button", name=CALCULATE, exact=True).click()
    expect(base).to_be_focused()
    expect(base).to_have_accessible_description(re.compile("base must be a whole number from 2 to 36"))
    expect(console.locator("#result")).to_have_text("ffffffffff")


def test_operands_are_explained_at_their_fields(console: Page) -> None:
    """Operands may be 1/3 or 1,000. An invalid one is explained at its field, an undefined result below the form."""
    console.get_by_role("button", name="pow", exact=True).click()
    x, y = console.get_by_label("x", exact=True), console.get_by_label("y", exact=True)
    x.fill("10^3")
    y.fill("1.5.2")
    y.press("Enter")
    expect(y).to_have_accessible_description(re.compile("y must be a number"))
    expect(y).to_be_focused()
    y.fill("-2")
    y.press("Enter")
    expect(console.locator("#result")).to_have_text("0.000001")
    for written, result in (("1/3", "9"), ("-1,000", "0.000001"), ("1 000 000", "0.000000000001")):
        x.fill(written)
        x.press("Enter")
        expect(console.locator("#result")).to_have_text(result)
    for wrong, right, result in (("0,125", "2", "0.25"), ("00,123", "10^3", "0.000001")):
        x.fill(wrong)  # no group of thousands begins with 0
        x.press("Enter")
        expect(x).to_have_accessible_description(re.compile("x must be a number"))
        x.fill(right)
        x.press("Enter")
        expect(console.locator("#result")).to_have_text(result)
        expect(x).not_to_have_attribute("aria-invalid", "true")
    options, precision = console.get_by_text("Options", exact=True), console.get_by_label("precision")
    options.click()
    precision.fill("none")
    x.fill("7")
    options.click()
    expect(precision).to_be_hidden()
    expect(x).to_have_value("7")
    x.press("Enter")
    expect(precision).to_be_focused()
    expect(precision).to_have_value("none")
    precision.fill("")
    x.fill("0")
    x.press("Enter")
    expect(console.get_by_role("alert").get_by_role("link")).to_have_attribute("href", "/docs/problems#domain-error")
    expect(console.locator("#result")).to_have_text("0.000001")  # the last result stays


def test_a_new_operation_appears_by_itself(page: Page) -> None:
    """The page's list of operations comes from the service, and the form of an operation from the OpenAPI document."""
    page.route(
        "**/",
        lambda route: (
            route.fulfill(json={"operations": ["cube"]})
            if "json" in (route.request.headers["accept"])
            else route.continue_()
        ),
    )
    operand = {"name": "n", "in": "path", "description": "The edge.", "schema": {"type": "string"}}
    cube = {"operationId": "cube", "summary": "Cube", "description": "n * n * n", "parameters": [operand]}
    page.route("**/openapi.json", lambda route: route.fulfill(json={"paths": {"/cube/{n}": {"get": cube}}}))
    page.goto("/")
    page.get_by_role("button", name="cube").click()
    expect(page.get_by_role("heading", name="Cube")).to_be_visible()
    expect(page.get_by_label("n", exact=True)).to_have_accessible_description("The edge.")


def test_a_hanging_document_delays_nothing_else(page: Page) -> None:
    """Until the OpenAPI document arrives, a form shows a placeholder; after a timeout, an error and a retry button."""
    page.clock.install()
    page.route("**/openapi.json", lambda _: None)  # no answer
    with page.expect_request("**/openapi.json"):
        page.goto("/?operation=pow&x=2")
    expect(page.locator(".operation .skeleton")).to_be_visible()
    expect(page.get_by_role("button", name="fibonacci", exact=True)).to_be_enabled()
    page.clock.fast_forward(21_000)
    expect(page.get_by_role("alert")).to_contain_text("did not answer in time")
    expect(page.get_by_role("button", name="Try again")).to_be_enabled()


def test_receiving_is_another_phase_than_computing(console: Page) -> None:
    """While a long result arrives, the page says how much has been received; Cancel keeps the previous result."""
    calculate(console, "fibonacci(10)")
    expect(console.locator("#result")).to_have_text("55")
    session = console.context.new_cdp_session(console)
    session.send("Network.enable")
    network = {"offline": False, "latency": 0, "downloadThroughput": 20_000, "uploadThroughput": -1}
    session.send("Network.emulateNetworkConditions", network)
    calculate(console, "2^3000000")  # 900 kB
    expect(console.get_by_text(re.compile(r"^Received [\d.]+ MB"))).to_be_visible()
    console.get_by_role("button", name="Cancel").click()
    expect(console.locator(".progress")).to_have_count(0)
    expect(console.locator("#result")).to_have_text("55")


def test_long_operands_do_not_fit_into_a_path(console: Page) -> None:
    """An operand of 70,000 digits is calculated from the form, and is still in the form after a reload."""
    console.goto("/?operation=isprime")
    console.get_by_label("n", exact=True).fill("2" * 70_000)
    console.get_by_role("button", name=CALCULATE, exact=True).click()
    expect(console.locator("#result")).to_have_text("false")
    console.reload()
    expect(console.get_by_label("n", exact=True)).to_have_value("2" * 70_000)


def test_every_digit_can_be_reached_by_keyboard(console: Page) -> None:
    """By keyboard, the viewer shows, finds and counts the digits of 2^100000; the page contains only a few rows."""
    digits = mpz(2**100_000).digits()
    calculate(console, "2^100000")
    console.get_by_role("button", name="All digits").press("Enter")
    viewer = console.get_by_role("region", name="All digits")
    expect(viewer).to_contain_text("as recorded")
    viewer.get_by_label("Search digits").press_sequentially("99900")
    console.keyboard.press("Enter")
    expect(viewer.locator("mark.current")).to_have_text("99900")
    hits = len(re.findall("(?=99900)", digits))
    expect(viewer).to_contain_text(f"Hit 1 of {hits}")
    assert viewer.locator(".digit-row").count() < 50
    viewer.get_by_label("Digit number").fill("30103")
    console.keyboard.press("Enter")
    rows = viewer.get_by_role("group", name=re.compile("30,103 digits"))
    expect(rows.locator(".digit-row").last).to_contain_text(digits[-3:])
    rows.press("Home")
    expect(rows.locator(".digit-row").first).to_contain_text(digits[:10])
    viewer.get_by_text("How often each digit occurs").press("Enter")
    expect(viewer.get_by_role("row", name=re.compile(f"^7 {digits.count('7'):,}"))).to_be_visible()


def test_twenty_million_digits_are_shown(console: Page) -> None:
    """Among 20 million digits, the viewer goes to a digit and finds digits; the page contains only a few rows."""
    viewer = view_digits(console, TWENTY_MILLION_DIGITS)
    digits = (mpz(3) ** 41_918_065).digits()
    assert len(digits) == 20_000_000
    go_to_digit(viewer, 10_000_000)
    expect(viewer.locator(".digit-rows")).to_contain_text(digits[9_999_999:10_000_009])
    search_digits(viewer, "123456")
    hits = len(re.findall("(?=123456)", digits))
    expect(viewer).to_contain_text(f"Hit 1 of {hits}")
    assert viewer.locator(".digit-row").count() < 50


def test_a_batch_checks_sends_and_returns_its_lines(console: Page, tmp_path: Path) -> None:
    """The page Batch sends only valid lines, at most 1,000 at once; a plot and a CSV file show the results."""
    console.goto("/console/batch")
    sizes: list[int] = []

    def on_request(request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/batch"):
            sizes.append(len(json.loads(request.post_data or "")["operations"]))

    console.on("request", on_request)
    lines = ["pow,3,1000,mod=97", "fibonaci,10", "gcd(12, 18)", "(1 + 2", "1/0"]
    lines += [f"{n}^2" for n in range(1_200)]
    field = console.get_by_label("One calculation a line")
    field.fill("\n".join(lines))
    field.press("Control+Enter")
    expect(console.get_by_role("alert")).to_contain_text("Line 2: There is no operation fibonaci.")
    expect(console.get_by_text("1,205 lines, 1,202 calculated, 3 with errors")).to_be_visible()
    assert sizes == [1_000, 203]
    expect(console.locator(".scatter circle").first).to_be_visible()
    with console.expect_download() as saved:
        console.get_by_role("button", name="Download CSV").click()
    saved.value.save_as(tmp_path / "batch.csv")
    rows = list(csv.DictReader(StringIO((tmp_path / "batch.csv").read_text())))
    assert [rows[index]["result"] for index in (0, 2, 10)] == [str(pow(3, 1000, 97)), "6", "25"]
    assert rows[4]["error"]
    console.get_by_role("button", name="Next page").click()
    expect(console.get_by_text("Page 2 of 25")).to_be_visible()


@pytest.mark.parametrize("language", ["en", "de"])
def test_pages_have_all_their_texts(console: Page, language: str) -> None:
    """In English and German, the pages Calculate and Batch show no key of a missing translation."""
    console.evaluate(f"localStorage.setItem('pycalc.language', '{language}')")
    for path in ("/?operation=pow&x=2&y=3", "/console/batch"):
        console.goto(path)
        expect(console.locator("form button[type=submit]")).to_be_visible()
        assert re.findall(r"\b(?:calculate|batch|viewer|result)\.[a-z-]+", console.locator("main").inner_text()) == []
