"""Operations over HTTP: results, batches, history, options such as ``base``, and an operation added as one file."""

from __future__ import annotations

import base64
import csv
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from pycalc.services.operations.numbers.primes import primes_up_to
from tests.harness.accounts import new_person
from tests.harness.servers import Server, pycalc

ROOT = Path(__file__).parents[3]
FACTORS_OF_360 = [{"prime": 2, "exponent": 3}, {"prime": 3, "exponent": 2}, {"prime": 5, "exponent": 1}]
LARGE_PRIME = 2**127 - 1


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    """Return a client of the session's server, logged in as a new user."""
    with httpx.Client(base_url=server.url, timeout=60) as opened:
        opened.headers.update(new_person(opened).headers)
        yield opened


def errors_of(answer: httpx.Response) -> Any:
    """Assert that the status is 422; return the errors, each with a pointer and a message."""
    assert answer.status_code == 422
    return answer.json()["errors"]


@pytest.mark.parametrize(
    ("path", "result"),
    [
        ("binomial/50/25", 126410606437752),
        ("binomial/-2/3", -4),
        ("binomial/5/6", 0),
        ("catalan/30", 3814986502092304),
        ("lucas/100", "792070839848372253127"),
        ("lucas/1000000000000000000?mod=10", 7),
        ("primorial/30", 6469693230),
        ("gcd/1071/-462", 21),
        ("lcm/21/6", 42),
        ("modinverse/3/11", 4),
        ("isprime/170141183460469231731687303715884105727", True),
        ("isprime/3215031751", False),
        ("nextprime/100", 101),
        ("binomial/1000000000000000000/500000000000000000?mod=5", 0),
        ("binomial/1000000000000000000/3?mod=1000000007", math.comb(10**18, 3) % (10**9 + 7)),
        ("catalan/30?mod=1000", 304),
        ("iroot/1000003/3", {"root": 100, "remainder": 3}),
        ("iroot/-10/3", {"root": -3, "remainder": 17}),
        ("iroot/1e40/2", {"root": "100000000000000000000", "remainder": 0}),
        ("factorize/360", FACTORS_OF_360),
        ("factorize/1", []),
        (f"factorize/{4 * LARGE_PRIME}", [{"prime": 2, "exponent": 2}, {"prime": str(LARGE_PRIME), "exponent": 1}]),
    ],
)
def test_the_result_is_in_the_answer_and_in_the_history(client: httpx.Client, path: str, result: object) -> None:
    """The result is in the response and in the history; a repeated request is answered from the cache."""
    first, second = (client.get(f"/{path}").raise_for_status().json() for _ in range(2))
    assert (first["result"], second["result"], second["cached"]) == (result, result, True)
    items = client.get("/secure-history").raise_for_status().json()["items"]
    assert [item["result"] for item in items] == [result, result]


@pytest.mark.parametrize(
    ("path", "operands", "result"),
    [
        ("pow/2%2F3/5", {"x": "2/3", "y": 5}, "32/243"),
        ("pow/2%2f3/-5", {"x": "2/3", "y": -5}, "7.59375"),
        ("pow/-8%2F27/2%2F3", {"x": "-8/27", "y": "2/3"}, "4/9"),
        ("pow/0xFF/2", {"x": 255, "y": 2}, 65025),
        ("pow/2%2F3/5?mod=101", {"x": "2/3", "y": 5, "mod": 101}, 87),  # 32 * 243^-1 = 32 * 69
    ],
)
def test_a_power_takes_fractions(client: httpx.Client, path: str, operands: dict[str, object], result: object) -> None:
    """The operation pow accepts fractions, percent-encoded in a path or plain in a batch, and hexadecimal numbers."""
    answer = client.get(f"/{path}").raise_for_status().json()
    assert (answer["input"], answer["result"], answer["exact"]) == (operands, result, True)
    body = {"operations": [{"operation": "pow", "input": operands}]}
    assert client.post("/batch", json=body).raise_for_status().json()["results"][0]["result"] == result
    assert client.get("/secure-history?limit=1").json()["items"][0]["input"] == operands


def test_a_fraction_without_residue_is_outside_the_domain(client: httpx.Client) -> None:
    """If a fraction has no residue, the error names the divisor that its denominator shares with the modulus."""
    answer = client.get("/pow/2%2F15/1?mod=21")
    assert (answer.status_code, answer.json()["type"]) == (422, "/docs/problems#domain-error")
    assert answer.json()["detail"].endswith("both are multiples of 3.")


def test_a_result_in_another_base_is_a_text_of_its_own(client: httpx.Client) -> None:
    """A result in base 16 does not share digits, ETag, digest or cache entry with the same result in base 10."""
    number = 3**2_000
    text, path = format(number, "x"), "/pow/3/2000?base=16"
    first, second = (client.get(path).raise_for_status().json() for _ in range(2))
    assert (first["result"], first["digits"], first["cached"], second["cached"]) == (text, len(text), False, True)
    assert first["input"] == {"x": 3, "y": 2000, "base": 16}
    bare = client.get(path, headers={"Accept": "text/plain"})
    digest = base64.b64encode(sha256(text.encode()).digest()).decode()
    assert (bare.text, bare.headers["Repr-Digest"]) == (text, f"sha-256=:{digest}:")
    in_decimal = client.get("/pow/3/2000", headers={"Accept": "text/plain"})
    assert (in_decimal.text, in_decimal.headers["ETag"] != bare.headers["ETag"]) == (str(number), True)
    current = {"Accept": "text/plain", "If-None-Match": bare.headers["ETag"]}
    assert [client.get(each, headers=current).status_code for each in (path, "/pow/3/2000")] == [304, 200]
    part = client.get(path, headers={"Accept": "text/plain", "Range": "bytes=10-19"})
    assert (part.status_code, part.text) == (206, text[10:20])
    item = client.get("/secure-history?limit=1").json()["items"][0]
    assert (item["input"]["base"], item["digits"], item["result"]) == (16, len(text), text)
    assert (item["leading"], item["trailing"]) == (text[:20], text[-20:])
    assert item["sha256"] == sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("fibonacci/30?base=2", "11001011001000101000"),
        ("fibonacci/30?base=10", 832040),
        ("factorial/5?base=36", "3c"),
        ("pow/-2/3?base=3", "-22"),
        ("pow/36/0?base=36", "1"),
        ("lucas/100?mod=100&base=2", "11011"),  # 27
        ("pow/1389110/1?base=36", "true"),
    ],
)
def test_digits_in_another_base_are_a_string(client: httpx.Client, path: str, expected: object) -> None:
    """In another base than 10, a result is always a string, even if it looks like a decimal number or a boolean."""
    answer = client.get(f"/{path}").raise_for_status().json()
    assert answer["result"] == expected
    body = {"operations": [{"operation": path.partition("/")[0], "input": answer["input"]}]}
    assert client.post("/batch", json=body).json()["results"][0]["result"] == expected
    items = client.get("/secure-history").json()["items"]
    assert [item["result"] for item in items] == [expected, expected]
    lines = client.get("/secure-history", headers={"Accept": "text/csv"}).text.splitlines()
    assert {json.loads(row["result"]) for row in csv.DictReader(lines)} == {expected}


def test_an_expression_has_its_value_in_another_base(client: httpx.Client) -> None:
    """``base`` applies to an expression's value. If the value is not an integer, the request gets 422."""
    answers = {}
    for expression in ("2^100 - 1", "1/3", "1 < 2"):
        answers[expression] = client.post("/evaluate", json={"expression": expression, "base": 32})
    assert answers["2^100 - 1"].json()["result"] == "v" * 20
    for refused in ("1/3", "1 < 2"):
        assert errors_of(answers[refused])[0]["pointer"] == "/base"


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("fibonacci/10?base=1", "base must be a whole number from 2 to 36, written in digits."),
        ("fibonacci/10?base=37", "base must be a whole number from 2 to 36, written in digits."),
        ("fibonacci/10?base=0x10", "base must be a whole number from 2 to 36, written in digits."),
        ("fibonacci/10?base=16&view=summary", "view=summary shows decimal digits: leave base out, or view."),
        ("isprime/10?base=16", "isprime does not have the option base: leave it out."),
        (
            "pow/2/-1?base=16",
            "Only integers can be written in another base, and the result is not one: leave base out.",
        ),
        (
            "pow/2/0.5?base=16",
            "Only integers can be written in another base, and the result is not one: leave base out.",
        ),
    ],
)
def test_a_base_that_is_not_served_is_refused(client: httpx.Client, path: str, sentence: str) -> None:
    """An invalid base, or a base for a summary or for a result that is not an integer, gets 422 with the reason."""
    assert errors_of(client.get(f"/{path}")) == [{"pointer": "/base", "detail": sentence}]


@pytest.mark.parametrize(
    ("path", "digits"), [("binomial/1e18/4e17", 292285253238628856), ("catalan/1e18", "602059991327962364")]
)
def test_the_size_of_a_value_that_is_never_computed(client: httpx.Client, path: str, digits: int | str) -> None:
    """A summary of a huge value has the exact number of digits, although the value itself is refused as too large."""
    summary = client.get(f"/{path}?view=summary").raise_for_status().json()
    assert int(summary["digits"]) == int(digits)
    refused = client.get(f"/{path}").json()
    assert (refused["type"], refused["leading"]) == ("/docs/problems#result-too-large", summary["leading"])


@pytest.mark.parametrize("path", ["binomial/1e18/1e17", "catalan/1e18"])
def test_a_modulus_that_is_too_hard_is_refused(client: httpx.Client, path: str) -> None:
    """A modulus that is too hard to factor gets 422 with a message that says so."""
    (place,) = errors_of(client.get(f"/{path}?mod={(2**89 - 1) * (2**107 - 1)}"))
    assert place["pointer"] == "/mod"
    assert "too hard to factor" in place["detail"]


def test_a_long_residue_agrees_with_a_short_one(client: httpx.Client) -> None:
    """The residue of a binomial coefficient modulo P^30, of over 1,000 digits, agrees with its residue modulo P.

    P is the product of the primes up to 100.
    """
    base = math.prod(primes_up_to(100))
    long, short = (
        int(client.get(f"/binomial/1e18/3e17?mod={modulus}").raise_for_status().json()["result"])
        for modulus in (base**30, base)
    )
    assert long > 10**1_000
    assert long % base == short


def test_a_list_has_its_place_everywhere(client: httpx.Client) -> None:
    """A list as a result works in a batch, as text with validators, in CSV and in an event."""
    body = {
        "operations": [{"operation": "factorize", "input": {"n": 360}}, {"operation": "isprime", "input": {"n": 97}}]
    }
    made = client.post("/batch", json=body).raise_for_status().json()
    assert [each["result"] for each in made["results"]] == [FACTORS_OF_360, True]
    bare = client.get("/factorize/360", headers={"Accept": "text/plain"})
    text = '[{"prime":2,"exponent":3},{"prime":3,"exponent":2},{"prime":5,"exponent":1}]'
    assert (bare.status_code, bare.text) == (200, text)
    current = {"Accept": "text/plain", "If-None-Match": bare.headers["ETag"]}
    assert client.get("/factorize/360", headers=current).status_code == 304
    never_computed = client.get("/factorize/1234567891011", headers={"Accept": "text/plain", "If-None-Match": "*"})
    assert never_computed.status_code == 304
    lines = client.get("/secure-history?operation=factorize", headers={"Accept": "text/csv"}).text.splitlines()
    assert {row["result"] for row in csv.DictReader(lines) if row["input"] == '{"n":360}'} == {text}
    with client.stream("GET", "/events", headers={"Last-Event-ID": bare.headers["X-Calculation-Id"]}) as events:
        data = next(line for line in events.iter_lines() if line.startswith("data:"))
    assert json.loads(data.removeprefix("data:"))["data"]["result"] == FACTORS_OF_360


def test_an_object_has_its_place_everywhere(client: httpx.Client) -> None:
    """An object as a result works in a batch, as text, in CSV and in an event."""
    body = {"operations": [{"operation": "iroot", "input": {"n": n, "k": 2}} for n in (99, 100)]}
    made = client.post("/batch", json=body).raise_for_status().json()["results"]
    assert [(each["result"], each["exact"]) for each in made] == [
        ({"root": 9, "remainder": 18}, False),
        ({"root": 10, "remainder": 0}, True),
    ]
    bare = [client.get(f"/iroot/{n}/2", headers={"Accept": "text/plain"}) for n in (99, 100)]
    assert [answer.text for answer in bare] == ['{"root":9,"remainder":18}', '{"root":10,"remainder":0}']
    assert [answer.headers.get("X-Exact") for answer in bare] == ["false", None]
    lines = client.get("/secure-history", headers={"Accept": "text/csv"}).text.splitlines()
    rows = [(row["result"], row["exact"], row["digits"]) for row in csv.DictReader(lines)]
    assert set(rows) == {('{"root":9,"remainder":18}', "false", "0"), ('{"root":10,"remainder":0}', "true", "0")}
    with client.stream("GET", "/events", headers={"Last-Event-ID": made[0]["id"]}) as events:
        data = next(line for line in events.iter_lines() if line.startswith("data:"))
    assert json.loads(data.removeprefix("data:"))["data"]["result"] == {"root": 10, "remainder": 0}


@pytest.mark.parametrize("path", [f"iroot/{'7' * 5_000}/2", f"factorize/{math.prod(primes_up_to(1_000))}"])
def test_a_long_result_that_is_no_number_is_valid_json(client: httpx.Client, path: str) -> None:
    """A result object or list of over 1,000 characters is sent as valid JSON; the history has only its digest."""
    answer = client.get(f"/{path}").raise_for_status()
    assert len(answer.content) > 2_000
    assert isinstance(answer.json()["result"], list | dict)
    bare = client.get(f"/{path}", headers={"Accept": "text/plain"}).raise_for_status()
    assert json.loads(bare.text) == answer.json()["result"]
    item = client.get("/secure-history").json()["items"][0]
    assert (item["result"], item["sha256"]) == (None, sha256(bare.content).hexdigest())


@pytest.mark.parametrize(
    ("path", "kind", "sentence"),
    [
        ("iroot/-4/2", "domain-error", "k must be odd"),
        ("iroot/4/0", "validation-error", "k must be a whole number of 1 or more"),
        ("iroot/4/-1", "validation-error", "k must be a whole number of 1 or more"),
        ("modinverse/4/0", "validation-error", "m must be a whole number of 1 or more, such as 12, 1e6 or 0xFF."),
        ("modinverse/4/-1", "validation-error", "m must be a whole number of 1 or more, such as 12, 1e6 or 0xFF."),
        ("iroot/-2/1e18", "domain-error", "k must be odd"),
        ("iroot/-2/1000000000000000001", "result-too-large", "more than 25,000,000 digits"),
    ],
)
def test_a_root_or_an_inverse_that_is_not_served_is_refused(
    client: httpx.Client, path: str, kind: str, sentence: str
) -> None:
    """A missing root, a root with too long a remainder, and an invalid degree or modulus get 422 with the reason."""
    answer = client.get(f"/{path}")
    assert (answer.status_code, answer.json()["type"]) == (422, f"/docs/problems#{kind}")
    assert sentence in answer.json()["detail"]


@pytest.mark.parametrize("operation", ["gcd/12/18", "factorize/12", "iroot/12/2"])
@pytest.mark.parametrize("option", ["mod=7", "view=summary"])
def test_an_ability_that_is_lacking_is_refused(client: httpx.Client, operation: str, option: str) -> None:
    """An option that an operation lacks gets 422 with the option's name, and is not in the OpenAPI document."""
    name, option_name = operation.partition("/")[0], option.partition("=")[0]
    sentence = f"{name} does not have the option {option_name}: leave it out."
    assert errors_of(client.get(f"/{operation}?{option}")) == [{"pointer": f"/{option_name}", "detail": sentence}]
    paths = client.get("/openapi.json").json()["paths"]
    offered = {
        path.split("/")[1]: {each["name"] for each in item["get"]["parameters"]}
        for path, item in paths.items()
        if path.startswith((f"/{name}/", "/lucas/"))
    }
    assert (option_name in offered[name], option_name in offered["lucas"]) == (False, True)


def test_there_is_no_inverse_of_a_multiple_of_a_factor(client: httpx.Client) -> None:
    """If a number has no inverse modulo another, the error names a common divisor."""
    answer = client.get("/modinverse/6/9")
    assert (answer.status_code, answer.json()["type"]) == (422, "/docs/problems#domain-error")
    assert "multiples of 3" in answer.json()["detail"]


def test_a_result_without_known_ends_is_too_large(client: httpx.Client) -> None:
    """If a result is too large and its number of digits is unknown, the error has no member ``digits``."""
    answer = client.get("/primorial/1000000000000")
    assert (answer.status_code, answer.json()["type"]) == (422, "/docs/problems#result-too-large")
    assert "digits" not in answer.json()


@pytest.mark.parametrize("path", ["lucas/7e²", "fibonacci/1e٣", "gcd/1e²/4"])
def test_an_exponent_in_other_digits_is_invalid(client: httpx.Client, path: str) -> None:
    """An exponent in superscript or other non-ASCII digits gets 422."""
    assert client.get(f"/{path}").status_code == 422


def test_one_more_file_is_one_more_operation(tmp_path: Path) -> None:
    """The example of docs/add-an-operation.md, one file, adds a route, a command, metrics and a name in expressions."""
    (source,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/add-an-operation.md").read_text(), re.DOTALL)
    assert len(source.splitlines()) <= 40
    shutil.copytree(ROOT / "pycalc", tmp_path / "pycalc", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "pycalc/services/operations/functions/triangular.py").write_text(source)
    there = ("env", "-C", str(tmp_path), f"PYTHONPATH={tmp_path}")
    command = [*there, sys.executable, "-m", "pycalc", "triangular", "100"]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout == "5050\n"
    with pycalc(prefix=there) as served, httpx.Client(base_url=served.url, timeout=60) as client:
        client.headers.update(new_person(client).headers)
        assert client.get("/triangular/100").json()["result"] == 5050
        assert client.get(f"/triangular/{'9' * 2_000}").json()["digits"] == 4_000
        batch = {"operations": [{"operation": "triangular", "input": {"n": 4}}]}
        assert client.post("/batch", json=batch).json()["results"][0]["result"] == 10
        expression = {"expression": "(triangular(10^1000) + triangular(3)) mod 97"}
        expected = (10**1000 * (10**1000 + 1) // 2 + 6) % 97
        assert client.post("/evaluate", json=expression).json()["result"] == expected
        assert 'operation="triangular"' in client.get("/metrics").text
        documented = client.get("/openapi.json").json()["paths"]["/triangular/{n}"]["get"]
        assert (documented["operationId"], documented["summary"]) == ("triangular", "Triangular number")
        assert [each["name"] for each in documented["parameters"]] == ["n", "base", "format"]
