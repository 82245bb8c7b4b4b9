"""The distribution's name: it is not ``pycalc``, because another project has that name on the public package index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "pycalc/settings.py", ROOT / "Dockerfile"]


def test_the_name_is_ours_and_the_command_stays() -> None:
    """The distribution is called pycalc-service; the command and the package are called pycalc."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == "pycalc-service"
    assert project["scripts"] == {"pycalc": "pycalc.cli.main:entry"}


def test_no_document_installs_another_project() -> None:
    """No document has a command that would install the other project, whose name is pycalc."""
    named = re.compile(r"pip install ['\"]?pycalc(?!_service)|pycalc\[")
    assert [path.name for path in DOCUMENTS if named.search(path.read_text())] == []
