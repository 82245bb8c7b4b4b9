"""The ASVS table in docs/security.md: it is complete, and the tests that it names exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "security.md").read_text()
# The number of level 1 and 2 requirements in each section of ASVS 5.0.0; they come first in a section.
COUNTS = {"6.1": 3, "6.2": 12, "6.3": 4, "6.4": 4, "6.5": 5, "6.6": 3, "6.8": 4} | {
    "7.1": 3,
    "7.2": 4,
    "7.3": 2,
    "7.4": 5,
    "7.5": 2,
    "7.6": 2,
    "9.1": 3,
    "9.2": 4,
}
LEVEL_1 = {"6.1.1", *(f"6.2.{n}" for n in range(1, 9)), "6.3.1", "6.3.2", "6.4.1", "6.4.2"} | {
    *(f"7.2.{n}" for n in range(1, 5)),
    "7.4.1",
    "7.4.2",
    "9.1.1",
    "9.1.2",
    "9.1.3",
    "9.2.1",
}
# The states of a requirement, and whether the state needs a test.
STATES = {"met": True, "partly": True, "not met": False, "not applicable": False}
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def rows() -> list[list[str]]:
    """Return the rows of the ASVS table in docs/security.md, each as a list of cells."""
    found = re.findall(r"^\| (\d\.\d\.\d+ \|.*) \|$", DOCUMENT, re.MULTILINE)
    return [[cell.strip() for cell in f"{row} ".split(" | ")] for row in found]


@cache
def names_of_tests(file: Path) -> frozenset[str]:
    """Return the names of a file's tests, including those in classes."""
    tree = ast.parse(file.read_text())
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(function.name for function in functions if function.name.startswith("test_"))


def test_every_requirement_is_answered() -> None:
    """The ASVS table has each requirement once and in order, with its level, a state and a reason."""
    expected = [f"{section}.{number}" for section, count in COUNTS.items() for number in range(1, count + 1)]
    assert [row[0] for row in rows()] == expected
    for number, level, meaning, state, how, *_ in rows():
        assert level == ("1" if number in LEVEL_1 else "2"), number
        assert meaning, number
        assert state in STATES, number
        assert how, number


def test_exactly_the_met_requirements_name_a_test() -> None:
    """In the ASVS table, a requirement that is met, at least partly, names a test; any other one names none."""
    for number, *_, state, _, kept_by in rows():
        assert bool(TEST.findall(kept_by)) is STATES[state], number


def test_every_test_that_is_named_exists() -> None:
    """Every test that the ASVS table names exists."""
    named = TEST.findall(DOCUMENT)
    assert len(named) > 50
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / "tests" / file).exists() or name not in names_of_tests(ROOT / "tests" / file)
    ]
    assert missing == []


def test_password_fields_are_masked_and_filled_in_by_managers() -> None:
    """The console's password fields are masked, have autocomplete values for password managers, and allow pasting."""
    modules = [file.read_text() for file in (ROOT / "pycalc" / "web" / "console").rglob("*.js")]
    fields = [field for text in modules for field in re.findall(r"<\$\{PasswordField\}[^>]*/>", text)]
    assert {re.findall(r'autocomplete="([^"]+)"', field)[0] for field in fields} == {"current-password", "new-password"}
    form = (ROOT / "pycalc" / "web" / "console" / "parts" / "form.js").read_text()
    assert 'type=${shown.value ? "text" : "password"}' in form
    assert not [text for text in modules if re.search(r"onpaste|\"paste\"", text, re.IGNORECASE)]
