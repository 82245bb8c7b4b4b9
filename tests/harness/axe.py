"""The accessibility rules of axe-core (an npm package), applied to a page."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from playwright.sync_api import Page

from tests.harness.npm import npm_packages

_FOLDER = Path(__file__).parent / "axe_core"
# Swagger UI and ReDoc bring their own markup, which this project can't repair.
_RUN = """async (tag) => {
  const rules = tag ? { runOnly: [tag] } : {};
  const { violations } = await axe.run({ exclude: [[".foreign"]] }, { resultTypes: ["violations"], ...rules });
  const described = (rule) => ({ target, failureSummary }) => `${rule}: ${target} ${failureSummary}`;
  return violations.flatMap(({ id, nodes }) => nodes.map(described(id)));
}"""


@cache
def _script() -> str:
    return (npm_packages(_FOLDER) / "node_modules" / "axe-core" / "axe.min.js").read_text()


def violations(page: Page, *, tag: str | None = None) -> list[str]:
    """Return the rules that the page violates, each with the element and the reason; raises Missing without npm.

    ``tag`` is the tag of the rules to check, such as "cat.color". By default all rules are checked.
    """
    page.evaluate(_script())
    found: list[str] = page.evaluate(_RUN, tag)
    return found
