"""The console's files: short modules, the same texts in every language, and no inline scripts or styles."""

from __future__ import annotations

import re
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest

WEB = Path(__file__).resolve().parents[2] / "pycalc" / "web"
MODULES = sorted(WEB.glob("console/**/*.js"))
LONGEST = 200
LANGUAGES = ("en", "de")


def texts_of(language: str) -> list[tuple[str, str]]:
    """Return the key and the JavaScript source of each text in a language's file of console texts, in order."""
    return re.findall(r'(?m)^  "([^"]+)": (.*),$', (WEB / f"console/strings/{language}.js").read_text())


class _Inline(HTMLParser):
    """A parser that collects the parts of a page that the content security policy would block."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag == "style" or (tag == "script" and "src" not in names):
            self.found.append(tag)
        self.found += [name for name in names if name == "style" or name.startswith("on")]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(WEB)))
def test_modules_are_short(module: Path) -> None:
    """A module has at most 200 lines. A file of translated texts is data and may have more."""
    if module.parent.name != "strings":
        assert len(module.read_text().splitlines()) <= LONGEST


def test_every_text_is_in_every_language() -> None:
    """The texts of all languages have the same keys in the same order, each once, and the same placeholders."""
    english, german = (texts_of(language) for language in LANGUAGES)
    assert [key for key, _ in english] == [key for key, _ in german]
    assert len(dict(english)) == len(english)
    places = [[(key, set(re.findall(r"{(\w+)}", text))) for key, text in texts] for texts in (english, german)]
    assert places[0] == places[1]


def test_every_text_that_is_asked_for_exists() -> None:
    """If a page or module names the key of a translated text literally, that text exists."""
    keys = {key for key, _ in texts_of("en")}
    asked = set()
    for file in (*MODULES, *WEB.glob("*.html")):
        asked |= set(re.findall(r"""(?:\bt\(|data-t(?:-label)?=)"([^"]+)\"""", file.read_text()))
    assert len(asked) > 50
    assert asked - keys == set()


def test_no_page_links_to_the_metrics() -> None:
    """No module or page links to /metrics, because people read the page Health instead."""
    assert [
        file.name for file in (*MODULES, *WEB.glob("*.html")) if re.search(r"[\"'(]/metrics", file.read_text())
    ] == []


def test_third_party_notices_list_the_vendored_files() -> None:
    """THIRD_PARTY.md lists exactly the vendored files, except type declarations, each with its SHA-256."""
    notices = (WEB.parents[1] / "THIRD_PARTY.md").read_text()
    vendored = [file for file in (WEB / "vendor").iterdir() if not file.name.endswith(".d.ts")]
    assert dict(re.findall(r"\| `([\w.-]+)` \| `([0-9a-f]{64})` \|", notices)) == {
        file.name: sha256(file.read_bytes()).hexdigest() for file in vendored
    }


@pytest.mark.parametrize("page", sorted(WEB.glob("*.html")), ids=lambda page: page.name)
def test_pages_have_no_inline_scripts_or_styles(page: Path) -> None:
    """The scripts of pages are in files of their own; no page has a style element, style attribute or event handler."""
    parser = _Inline()
    parser.feed(page.read_text())
    assert parser.found == []
