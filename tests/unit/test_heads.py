"""Responses to HEAD requests: the header of the GET response, without producing its content (RFC 9110 §9.3.2)."""

from __future__ import annotations

from typing import Any

import pytest

from pycalc.routers.http import representations
from pycalc.routers.http.negotiation import RequestConditions
from pycalc.routers.http.representations import send_json, send_text
from pycalc.services.calculations.calculator import Answer
from tests.harness.results import digits, result

pytestmark = pytest.mark.anyio

TAGS = ('"a"', '"a-zstd"', '"a-gzip"')
ANSWER = Answer("01a202cd-328b-701e-ab15-671a3742e8f6", result(digits(200_000)), True, 1)


async def sent(conditions: RequestConditions, *, text: bool) -> list[Any]:
    """Return the ASGI messages of a response."""
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    status = await (send_text(TAGS, ANSWER, conditions, (), send) if text else send_json(ANSWER, conditions, (), send))
    assert status == 200
    return messages


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("coding", ["gzip", "zstd", "identity"])
async def test_no_content_is_made(monkeypatch: pytest.MonkeyPatch, coding: str, *, text: bool) -> None:
    """A HEAD response has the header of the GET response, without compressing or slicing the result."""
    conditions = RequestConditions(accept_encoding=coding)
    start, *_ = await sent(conditions, text=text)
    monkeypatch.delattr(representations, "digits_compressor")
    monkeypatch.delattr(representations, "_slices")
    sent_for_head = await sent(conditions._replace(content=False), text=text)
    assert sent_for_head == [start, {"type": "http.response.body", "body": b""}]
