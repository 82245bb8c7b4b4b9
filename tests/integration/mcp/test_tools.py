"""The MCP tools for language models, called by the MCP SDK's client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from hashlib import sha256

import gmpy2
import httpx
import pytest
from fastapi import FastAPI
from mcp import Client, MCPError
from mcp.types import ResourceLink, TextResourceContents

from pycalc.errors import Overloaded, PycalcError, Unavailable
from pycalc.mcp.results import sentence_of
from pycalc.services.operations import OPERATIONS
from pycalc.settings import Settings
from tests.harness.in_process import changed, new_user
from tests.harness.mcp import LEGACY, MODERN, error_of, mcp_client, text_of, value_of

pytestmark = pytest.mark.anyio

# Questions as users ask them, the one call that answers each, and the answer from another source.
QUESTIONS = [
    ("the last 20 digits of 7^(10^15)", "evaluate", {"expression": "7^(10^15) mod 10^20"}, pow(7, 10**15, 10**20)),
    ("is 2^521 - 1 prime", "evaluate", {"expression": "isprime(2^521 - 1)"}, "true"),
    ("C(1000, 500)", "evaluate", {"expression": "binomial(1000, 500)"}, gmpy2.comb(1000, 500)),
    ("100!", "factorial", {"n": "100"}, gmpy2.fac(100)),
    ("F(1000)", "fibonacci", {"n": "1000"}, gmpy2.fib(1000)),
    ("1/3 + 1/7", "evaluate", {"expression": "1/3 + 1/7"}, "10/21"),
    ("the inverse of 3 modulo 11", "modinverse", {"a": "3", "m": "11"}, 4),
    ("is 2^64 > 10^19", "evaluate", {"expression": "2^64 > 10^19"}, "true"),
    ("the sum of the first 1000 squares", "evaluate", {"expression": "sum(i, 1, 1000, i^2)"}, 333833500),
    ("sqrt(2) to 30 digits", "pow", {"x": "2", "y": "0.5", "precision": "30"}, "1.41421356237309504880168872421"),
]


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Return settings with the test's changes."""
    return changed(settings, **getattr(request, "param", {}))


@pytest.fixture
async def headers(client: httpx.AsyncClient) -> dict[str, str]:
    """Register an account, log in, and return the Authorization header."""
    return (await new_user(client))[1]


@pytest.fixture(params=[LEGACY, MODERN])
async def tools(
    request: pytest.FixtureRequest, app: FastAPI, client: httpx.AsyncClient, headers: dict[str, str]
) -> AsyncIterator[Client]:
    """Return a client of each version of the protocol in turn."""
    async with mcp_client(app, app.state.lifespan, headers, request.param) as opened:
        yield opened


async def test_tools_follow_from_the_registry(tools: Client) -> None:
    """``evaluate`` is the first tool, and each operation has a tool whose operands are required strings."""
    listed = (await tools.list_tools()).tools
    assert [tool.name for tool in listed] == ["evaluate", *OPERATIONS, "batch", "digits", "history"]
    by_name = {tool.name: tool for tool in listed}
    assert len((by_name["evaluate"].description or "").splitlines()) == 6
    for name, operation in OPERATIONS.items():
        schema = by_name[name].input_schema
        assert schema["required"] == [parameter.name for parameter in operation.parameters]
        assert {each["type"] for each in schema["properties"].values()} == {"string"}
    assert by_name["pow"].input_schema["properties"]["view"]["enum"] == ["full", "summary"]
    hints = [tool.annotations for tool in listed]
    assert all(hint is not None and hint.read_only_hint and hint.idempotent_hint for hint in hints)
    assert all(tool.output_schema is not None for tool in listed)


async def test_ten_questions_take_one_call_each(tools: Client) -> None:
    """A question such as "the last 20 digits of 7^(10^15)" is answered by a single tool call."""
    for question, tool, arguments, expected in QUESTIONS:
        found = await value_of(tools, tool, **arguments)
        assert found["result"] == str(expected), question


async def test_an_error_says_what_to_correct(tools: Client) -> None:
    """An error names the argument and says what is wrong; for an expression, it has the position of the mistake."""
    assert await error_of(tools, "evaluate", expression="3 + * 4") == (
        "expression, character 5: A number is missing before *: write one."
    )
    assert "no real" in await error_of(tools, "pow", x="-8", y="0.5")
    assert await error_of(tools, "fibonacci", n=1.5) == (
        'n must be a string such as "100": a number may have been rounded on its way.'
    )
    huge = await error_of(tools, "pow", x="2", y="1000000000000")
    assert "has 301029995664 digits" in huge
    assert "the last 62411355626738287616" not in huge  # 20 digits, as gmpy2 computes them
    assert str(pow(2, 10**12, 10**20)) in huge
    assert "frobnicate" in await error_of(tools, "gcd", a="1", b="2", frobnicate="3")


async def test_an_unknown_tool_is_an_error_of_the_protocol(tools: Client) -> None:
    """Calling an unknown tool gives a JSON-RPC error, not a tool's result."""
    with pytest.raises(MCPError, match="There is no tool 'frobnicate'"):
        await tools.call_tool("frobnicate", {})


async def test_a_long_result_comes_by_its_ends_and_a_link(tools: Client) -> None:
    """For a long result, a tool returns the size, the first and last digits, the SHA-256 and a resource link.

    The tool ``digits`` returns any part of the result, and the link its first 2,000 digits.
    """
    answer = await tools.call_tool("fibonacci", {"n": "20000"})
    digits = str(gmpy2.fib(20000))
    found = answer.structured_content
    assert found == {
        "id": found["id"],
        "leading": digits[:20],
        "trailing": digits[-20:],
        "sha256": sha256(digits.encode()).hexdigest(),
        "digits": str(len(digits)),
        "exact": True,
    }
    assert json.loads(text_of(answer)) == found
    assert [each.name for each in (await tools.list_resource_templates()).resource_templates] == ["digits"]
    link = answer.content[1]
    assert isinstance(link, ResourceLink)
    assert link.size == len(digits)
    (content,) = (await tools.read_resource(link.uri)).contents
    assert isinstance(content, TextResourceContents)
    assert content.text == digits[:2000]
    part = await value_of(tools, "digits", id=found["id"], start=4000, count=100)
    assert part == {"text": digits[4000:4100], "start": 4000, "total": len(digits)}
    short = await value_of(tools, "fibonacci", n="10")
    assert (await value_of(tools, "digits", id=short["id"]))["text"] == "55"
    assert await error_of(tools, "digits", id=short["id"], start=2) == (
        "start must be below 2, the number of characters of the result."
    )
    assert await error_of(tools, "digits", id="nonsense") == "There is no such calculation."


@pytest.mark.parametrize("settings", [{"mcp_inline_digits": 100}], indirect=True)
async def test_the_setting_bounds_what_is_inline(tools: Client) -> None:
    """A result of up to ``mcp_inline_digits`` characters is returned in full; the results of a batch share the limit.

    The tool ``digits`` refuses a ``count`` above ``mcp_inline_digits``.
    """
    assert len((await value_of(tools, "evaluate", expression="10^99"))["result"]) == 100
    assert "result" not in await value_of(tools, "evaluate", expression="10^100")
    operations = [{"operation": "evaluate", "input": {"expression": f"10^{power}"}} for power in (59, 49, 39, 39)]
    results = (await value_of(tools, "batch", operations=operations))["results"]
    assert [len(each.get("result", "")) for each in results] == [60, 0, 40, 40]
    assert await error_of(tools, "digits", id="x", count=101) == "count must be a whole number from 1 to 100."


async def test_a_batch_answers_in_order(tools: Client) -> None:
    """A batch gives a result or an error for each calculation, in order."""
    operations = [
        {"operation": "gcd", "input": {"a": "1071", "b": "462"}},
        {"operation": "gcd", "input": {"a": "1071"}},
        {"operation": "evaluate", "input": {"expression": "2^10"}},
    ]
    results = (await value_of(tools, "batch", operations=operations))["results"]
    assert [each.get("result", each.get("error")) for each in results] == [
        "21",
        "b is missing: it is required.",
        "1024",
    ]
    assert "1 to 1,000 items" in await error_of(tools, "batch", operations=[])


async def test_calculations_are_in_the_history(
    tools: Client, client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    """Each calculation by a tool is recorded once, under the name of its operation."""
    await value_of(tools, "lucas", n="100")
    await value_of(tools, "isprime", n="97")
    items = (await value_of(tools, "history", limit=2))["items"]
    assert [(item["operation"], item["input"], item["result"]) for item in items] == [
        ("isprime", {"n": "97"}, "true"),
        ("lucas", {"n": "100"}, "792070839848372253127"),
    ]
    page = (await client.get("/secure-history", headers=headers)).json()
    assert [item["id"] for item in page["items"]] == [item["id"] for item in items]
    first = await value_of(tools, "history", limit=1)
    second = await value_of(tools, "history", limit=1, cursor=first["next_cursor"])
    assert (second["items"][0]["operation"], "next_cursor" in second) == ("lucas", False)
    for limit in (0, 51, 1001, "many"):
        assert await error_of(tools, "history", limit=limit) == "limit must be a whole number from 1 to 50."
    assert await error_of(tools, "history", page=2) == "There is no argument page: leave it out, or correct its name."
    assert "since must be" in await error_of(tools, "history", since="yesterday")


@pytest.mark.parametrize(
    "error", [Overloaded("Too much is asked for; retry in 5 s.", 5), Unavailable("The clock fails.")]
)
def test_an_error_says_once_when_to_come_back(error: PycalcError) -> None:
    """The text of an error states the time to retry once, whether or not the error's message contains it already."""
    assert sentence_of(error).lower().count("retry in") == 1
