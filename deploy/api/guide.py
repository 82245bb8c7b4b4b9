"""``make guide``: convert ``docs/api.md`` to the page ``/guide``, so that the service needs no Markdown library."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from itertools import groupby
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

_ROOT = Path(__file__).resolve().parents[2]
PAGE = _ROOT / "pycalc" / "web" / "guide.html"
_LANGUAGES = {"sh": "curl", "python": "Python", "js": "JavaScript"}
_SEARCH = """<p id="guide-search" role="search" hidden><label for="guide-query">Search the guide</label>
<input id="guide-query" type="search" autocomplete="off" data-slash></p>
"""
_NOTHING = '<p id="guide-nothing" class="empty" hidden>No task has all of these words.</p>\n'


def page() -> str:
    """Return the guide's HTML page: an introduction, links to the tasks, and a section for each task."""
    introduction, *tasks = (_ROOT / "docs" / "api.md").read_text().split("\n## ")
    titles = [task.partition("\n")[0] for task in tasks]
    links = "".join(f'<li><a href="#{_slug(title)}">{escape(title)}</a></li>' for title in titles)
    contents = f'<nav class="contents" aria-label="Tasks"><ul>{links}</ul></nav>\n'
    sections = "".join(
        f'<section id="{_slug(title)}" aria-label="{escape(title)}">\n{_html(f"## {task}")}</section>\n'
        for title, task in zip(titles, tasks, strict=True)
    )
    body = _html(introduction) + _SEARCH + contents + _NOTHING + sections
    return (Path(__file__).parent / "guide.html").read_text().replace("<!-- guide -->\n", body)


def _slug(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower())


def _html(text: str) -> str:
    markdown = MarkdownIt("commonmark", {"html": False})
    tokens = groupby(markdown.parse(text), lambda token: token.type == "fence" and token.info in _LANGUAGES)
    rendered = "".join(
        "".join(_examples(group)) if is_example else markdown.renderer.render([*group], markdown.options, {})
        for is_example, group in tokens
    )
    return rendered.replace("<pre>", '<pre tabindex="0">')  # with it, a keyboard can scroll wide code


def _examples(fences: Iterator[Token]) -> Iterator[str]:
    """Yield the HTML of adjacent examples, each under its language's name; the page's script makes tabs of them."""
    yield '<div class="examples">\n'
    for fence in fences:
        code = escape(fence.content, quote=False)
        yield f"<p>{_LANGUAGES[fence.info]}</p>\n<pre><code>{code}</code></pre>\n"
    yield "</div>\n"


if __name__ == "__main__":
    PAGE.write_text(page())
