"""Results and errors of tools, in the form of the protocol."""

from __future__ import annotations

from typing import Any

from mcp.types import CallToolResult, ContentBlock, ResourceLink, TextContent
from pydantic_core import to_json

from pycalc.errors import ComputationTimeout, PycalcError, ResultTooLarge, RetryLater
from pycalc.mcp.backend import Calculated
from pycalc.services.operations.numbers.gmp import text_of

_MOST_PROBLEMS = 20


def answer(structured: dict[str, Any], *links: ContentBlock) -> CallToolResult:
    """Return the result of a tool, as an object and as JSON text for clients that do not read objects."""
    text = TextContent(type="text", text=to_json(structured).decode())
    return CallToolResult(content=[text, *links], structured_content=structured)


def calculated(found: Calculated, most_inline: int) -> CallToolResult:
    """Return a calculation as the result of a tool, with a link to its first characters if it is not sent whole."""
    if found.whole:
        return answer(described(found))
    link = ResourceLink(
        type="resource_link",
        uri=f"pycalc://calculations/{found.id}/digits?start=0&count={most_inline}",
        name=f"digits-{found.id}",
        description=f"the first {most_inline:,} characters of the result; start and count select others",
        mime_type="text/plain",
        size=len(found.text),
    )
    return answer(described(found), link)


def sentence_of(error: PycalcError) -> str:
    """Return an error in sentences: what was wrong, at which place in the arguments, and for example when to retry."""
    if error.code == PycalcError.code:
        return "The service made an error; tell the operator, whose log has the details."
    problems = getattr(error, "problems", ())
    sentences = [] if problems else [error.detail]
    for pointer, detail, position in problems[:_MOST_PROBLEMS]:
        place = pointer[1:] if position is None else f"{pointer[1:]}, character {position + 1}"
        is_named = place in detail.replace(":", " ").split()
        sentences.append(detail if is_named else f"{place}: {detail}")
    if len(problems) > _MOST_PROBLEMS:
        sentences.append(f"There are {len(problems):,} errors; the first {_MOST_PROBLEMS} are listed.")
    if isinstance(error, ResultTooLarge) and error.digits is not None:
        digits = text_of(error.digits)
        sentences.append(f"It has {digits} digits: the first are {error.leading}, the last {error.trailing}.")
    if isinstance(error, ComputationTimeout) and error.found is not None:
        sentences.append(f"Found by then: {error.found}")
    if isinstance(error, RetryLater) and "retry in" not in error.detail:
        sentences.append(f"Retry in {error.retry_after} s.")
    return " ".join(sentences)


def described(found: Calculated | PycalcError) -> dict[str, Any]:
    """Return a calculation or an error as an object. A result that is not sent whole has its first and last digits."""
    if isinstance(found, PycalcError):
        return {"error": sentence_of(found)}
    facts, member = found.facts, {"id": found.id}
    if found.whole and len(found.text) > 0:
        member["result"] = found.text[:].decode()
    else:  # a summary, or a text that is too long to be sent whole
        member |= {"leading": facts.leading, "trailing": facts.trailing}
        if facts.sha256 is not None:
            member["sha256"] = facts.sha256.hex()
    return {**member, "digits": facts.digits, "exact": facts.exact}
