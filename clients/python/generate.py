"""Generate the synchronous client from the asynchronous one: ``python clients/python/generate.py``.

The script replaces words such as ``AsyncClient``, removes ``async`` and ``await``, and writes loops that only yield as
``yield from``. A test fails if the synchronous client is out of date.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_PACKAGE = Path(__file__).parent / "src" / "pycalc_client"
_WORDS = [
    (r"\basync (def|for|with) ", r"\1 "),
    (r"\bawait ", ""),
    (r"\basync_(\w+)", r"\1"),
    (r"\bAsync([A-Z]\w+)", r"\1"),
    (r"\ba(close|read|iter_bytes|iter_raw)\b", r"\1"),
    (r"\b__a(enter|exit)__", r"__\1__"),
    (r"(?m)^(\s*(?:from|import) pycalc_client\.)_async\b", r"\1_sync"),  # only in imports: a docstring may mean _async
]


def generated() -> Iterator[tuple[Path, str]]:
    """Yield the path and the new text of each generated file."""
    for source in sorted((_PACKAGE / "_async").glob("*.py")):
        text = source.read_text()
        if source.name == "__init__.py":
            text = '"""The synchronous client, which ``generate.py`` makes from the asynchronous one: change that."""\n'
        for pattern, replacement in _WORDS:
            text = re.sub(pattern, replacement, text)
        target = _PACKAGE / "_sync" / source.name
        yield target, _formatted(text, target)


def _formatted(text: str, path: Path) -> str:
    """Return the formatted text, with sorted imports, and with ``yield from`` in place of loops that only yield."""
    for command in (["check", "--quiet", "--select", "I,UP028", "--fix", "--unsafe-fixes"], ["format", "--quiet"]):
        line = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(path), "-"]
        done = subprocess.run(line, input=text, capture_output=True, text=True, check=True)  # noqa: S603
        text = done.stdout
    return text


if __name__ == "__main__":
    for target, text in generated():
        target.write_text(text)
