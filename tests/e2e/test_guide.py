"""The guide's examples: the programs of each language run, and print the output that the guide shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from deploy.api.guide import PAGE
from deploy.api.guide import page as made_page
from tests.conftest import require_program
from tests.harness.accounts import new_name, new_person
from tests.harness.examples import blocks, normalized, shown
from tests.harness.servers import Server

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "api.md").read_text()
_NODE = "(async () => { for (const file of process.argv.slice(1)) await import(file); })()"
_PYTHON = "import runpy, sys; [runpy.run_path(file) for file in sys.argv[1:]]"
# Each command runs all examples of a language in one process, because later shell examples use variables of earlier
# ones.
RUNNERS: dict[str, Callable[[Sequence[str]], list[str]]] = {
    "sh": lambda files: ["bash", "-c", 'set -e; for file in "$@"; do . "$file"; echo; done', "guide", *files],
    "python": lambda files: [sys.executable, "-c", _PYTHON, *files],
    "js": lambda files: ["node", "-e", _NODE, *files],
}


@pytest.mark.parametrize("language", ["sh", "python", pytest.param("js", marks=pytest.mark.programs)])
def test_examples_print_what_the_guide_shows(server: Server, tmp_path: Path, language: str) -> None:
    """All examples of a language run in the guide's order, and print what their comments show, apart from ids."""
    if language == "js":
        require_program("node")
    programs = blocks(GUIDE, language)
    assert len(programs) == 11
    name = new_name()
    files = []
    for number, code in enumerate(programs):
        file = tmp_path / f"{number:02}.{'mjs' if language == 'js' else language}"
        file.write_text(re.sub(r"\bada\b", name, code).replace("http://127.0.0.1:8080", server.url))
        files.append(str(file))
    with httpx.Client(base_url=server.url) as client:
        key = client.post("/me/keys", json={"name": "guide"}, headers=new_person(client).headers).json()["key"]
    source = os.pathsep.join([str(ROOT / "clients" / "python" / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYCALC_API_KEY": key, "PYTHONPATH": source}
    done = subprocess.run(
        RUNNERS[language](files), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = [line for code in programs for line in shown(code)]
    assert [normalized(line) for line in done.stdout.splitlines() if line] == [normalized(line) for line in expected]


def test_every_task_is_shown_in_every_language() -> None:
    """Each section of the guide has code in all three languages, or in none."""
    for section in GUIDE.split("\n## ")[1:]:
        languages = set(re.findall(r"^```(sh|python|js)$", section, re.MULTILINE))
        assert languages in (set(), {*RUNNERS}), section.partition("\n")[0]


def test_the_page_is_made_from_the_guide() -> None:
    """The page ``/guide`` matches docs/api.md. If this fails, run ``make guide``."""
    assert PAGE.read_text() == made_page()


def test_the_page_has_tabs_of_one_language_and_a_search(page: Page, server: Server) -> None:
    """On the guide's page, choosing a language switches all examples, and a search hides the tasks without its words.

    The examples contain the address of the service that sends the page.
    """
    page.goto("/guide")
    page.get_by_role("tab", name="Python").first.click()
    examples = page.get_by_role("tabpanel")
    expect(examples.last).to_contain_text("from pycalc_client import Client")
    expect(examples.first).to_contain_text(f'"{server.url}"')
    page.get_by_label("Search the guide").fill("webservice excel")
    headings = page.locator("main h2:visible")
    expect(headings).to_have_text(["Spreadsheets"])
    page.get_by_label("Search the guide").fill("xyzzy")
    expect(headings).to_have_count(0)
    expect(page.get_by_text("No task has all of these words.")).to_be_visible()
    page.set_viewport_size({"width": 360, "height": 740})
    page.get_by_label("Search the guide").fill("")
    expect(headings).to_have_count(12)
    expect(page.get_by_text("No task has all of these words.")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
