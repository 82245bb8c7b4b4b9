"""The list of accepted mutants, tests/mutation/accepted.toml: its entries follow the code."""

from __future__ import annotations

import re
import tomllib
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LISTED = tomllib.loads((ROOT / "tests" / "mutation" / "accepted.toml").read_text())
MOST_TOKENS = 3  # a mutation replaces at most so many tokens by at most so many others


def tokens(line: str) -> list[str]:
    """Return the words and signs of a line of code."""
    return re.findall(r"\w+|\S", line)


def changed(before: list[str], after: list[str]) -> int:
    """Return the length in tokens of the part in which two lines differ, in the line where it is longer."""
    most = min(len(before), len(after))
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
    pairs = list(zip(reversed(before), reversed(after), strict=False))[: most - same]
    same += sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return max(len(before), len(after)) - same


def test_each_accepted_line_is_a_line_of_its_file_with_one_change() -> None:
    """Each accepted line differs from a line of its file by a single mutation; else no mutant would ever match it."""
    stale = []
    for entry in LISTED["survivor"]:
        lines = [tokens(line) for line in (ROOT / entry["file"]).read_text().splitlines() if line.strip()]
        for accepted in entry["lines"]:
            nearest = min(changed(line, tokens(accepted)) for line in lines)
            if nearest > MOST_TOKENS or accepted != " ".join(accepted.split()):
                stale.append(f"{entry['file']}: {accepted}")
    assert stale == []


def test_each_accepted_constant_is_bound_in_its_file() -> None:
    """Each constant or parameter that is listed as tuning has a value in its file."""
    stale = [
        f"{entry['file']}: {name}"
        for entry in LISTED["tuning"]
        for name in entry["constants"]
        if not re.search(rf"^.*\b{name}\b[^=\n]*=", (ROOT / entry["file"]).read_text(), re.MULTILINE)
    ]
    assert stale == []
