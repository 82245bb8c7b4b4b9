"""The documents: every file, identifier and heading that they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    *(ROOT / "docs").rglob("*.md"),
    *(
        ROOT / name
        for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md", "clients/python/README.md")
    ),
]
# The folders to which paths in documents may be relative.
BASES = [ROOT, ROOT / "pycalc", ROOT / "pycalc/web"]
FOLDERS = {path.name for base in BASES for path in base.iterdir() if path.is_dir() and not path.name.startswith(".")}
PATH = re.compile(r"`([\w.-]+(?:/[\w.*-]+)*/?)`")
FILE = re.compile(r"\.(?:py|js|css|toml|ya?ml|json|md|sh|html)$")
# Files that exist only after a command has created them.
GENERATED = {"data/", "dist/"}


def paths_of(text: str) -> set[str]:
    """Return the paths in a document's inline code: names with a suffix such as .py, and paths in our folders."""
    named = set(PATH.findall(text))
    return {path for path in named if FILE.search(path) or (path.split("/")[0] in FOLDERS and "/" in path)} - GENERATED


def anchors_of(document: Path) -> set[str]:
    """Return the anchors that GitHub makes for a document's headings."""
    headings = re.findall(r"(?m)^#+ (.*)$", document.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_every_named_path_exists(document: Path) -> None:
    """Every path that a document names exists."""
    missing = {path for path in paths_of(document.read_text()) if not any(list(base.glob(path)) for base in BASES)}
    assert missing == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    """Every link to another file or to a heading has a target."""
    broken = []
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", document.read_text()):
        name, _, anchor = target.partition("#")
        file = (document.parent / name) if name else document
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            broken.append(target)
    assert broken == []


def test_the_architecture_names_identifiers_of_their_files() -> None:
    """If docs/architecture.md names an identifier in parentheses after a file, the file contains this identifier."""
    text = (ROOT / "docs/architecture.md").read_text()
    named = re.findall(r"`([\w/]+\.py)` \(`(\w+)`\)", text)
    assert len(named) > 2
    missing = [(file, name) for file, name in named if name not in (ROOT / "pycalc" / file).read_text()]
    assert missing == []
