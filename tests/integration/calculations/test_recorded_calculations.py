"""Calculations as resources: ``POST /calculations``, ``GET /calculations/{id}`` and its digits."""

from __future__ import annotations

import base64
import gzip
import math
from collections.abc import AsyncIterator, Mapping
from hashlib import sha256
from time import perf_counter

import httpx
import pytest
from gmpy2 import mpz

from pycalc.errors import VerificationFailed
from pycalc.models.auth import Principal, Role
from pycalc.models.ids import IdSource, id_of_text
from pycalc.resources.wiring import Resources
from pycalc.services.calculations.planning import make_plan
from pycalc.services.calculations.requests import recorded_request
from pycalc.settings import Settings
from tests.harness.accounts import PASSWORD, history_of, new_name, new_session, registration
from tests.harness.in_process import changed

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}
TEXT = {"Accept": "text/plain"}
LONG = "7" * 10_000  # the longest base of pow without ``mod``
SEVENS = 7 * (10**10_000 - 1) // 9  # the value of LONG
# Invalid bodies, with the pointers of their errors.
MALFORMED = {
    "5": [""],
    "{}": [""],
    '{"operation": "pow"}': [""],
    '{"operation": "sine", "input": {}}': ["/operation"],
    '{"operation": "pow", "input": []}': ["/input"],
    '{"operation": "pow", "input": {"x": "1"}}': ["/input/y"],
    '{"operation": "pow", "input": {"x": "1", "y": "1", "z": "1"}}': ["/input/z"],
    '{"operation": "pow", "input": {"x": "1", "y": "1", "mod": "5"}}': ["/input/mod"],
    '{"operation": "pow", "input": {"x": null, "y": true}}': ["/input/x", "/input/y"],
    '{"operation": "pow", "input": {"x": "one", "y": "two"}}': ["/input/x", "/input/y"],
    '{"operation": "pow", "input": {"x": "1", "y": "1"}, "more": 1}': ["/more"],
    '{"operation": "pow", "input": {"x": "1", "y": "1"}, "mod": 0}': ["/mod"],
    '{"operation": "pow", "input": {"x": "1", "y": "1"}, "mod": [5]}': ["/mod"],
    '{"operation": "pow", "input": {"x": "1", "y": "1"}, "view": "half"}': ["/view"],
    '{"operation": "pow", "input": {"x": "1", "y": "1"}, "precision": 0}': ["/precision"],
    '{"operation": "fibonacci", "input": {"n": "1"}, "precision": 5}': ["/precision"],
    '{"operation": "fibonacci", "input": {"n": "1", "n": "2"}}': [""],
}
NOT_CACHED = {"cache_url": "memory://?max_bytes=0"}


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Return settings with the changes in the test's parameters, if any."""
    return changed(settings, **getattr(request, "param", {}))


def having(**settings: object) -> pytest.MarkDecorator:
    """Return a mark that changes settings for a test."""
    return pytest.mark.parametrize("settings", [settings], indirect=True)


@pytest.fixture
async def caller(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Return the client, logged in and without compression."""
    await new_session(client)
    client.headers["Accept-Encoding"] = "identity"
    return client


async def calculate(client: httpx.AsyncClient, operation: str, **body: object) -> httpx.Response:
    """Post a calculation."""
    return await client.post("/calculations", json={"operation": operation, **body})


async def path_of(client: httpx.AsyncClient, operation: str, **body: object) -> str:
    """Post a calculation, and return its path."""
    answer = await calculate(client, operation, **body)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


class TestMaking:
    """Making calculations by ``POST /calculations``."""

    async def test_it_equals_the_calculation_by_path(self, caller: httpx.AsyncClient) -> None:
        """A posted calculation equals that from a GET, except for id, time and ``cached``, and has a Location."""
        rows: list[tuple[dict[str, object], str]] = [
            ({"operation": "fibonacci", "input": {"n": 100}}, "/fibonacci/100"),
            ({"operation": "pow", "input": {"x": "2", "y": "-1"}}, "/pow/2/-1"),
            ({"operation": "pow", "input": {"x": 2, "y": 0.5}, "precision": 30}, "/pow/2/0.5?precision=30"),
            ({"operation": "factorial", "input": {"n": "1000"}, "mod": 1009}, "/factorial/1000?mod=1009"),
            ({"operation": "fibonacci", "input": {"n": 10**7}, "view": "summary"}, "/fibonacci/10000000?view=summary"),
        ]
        for body, path in rows:
            answer = await caller.post("/calculations", json=body)
            assert (answer.status_code, answer.headers["Content-Type"]) == (201, "application/json")
            posted, got = answer.json(), (await caller.get(path)).json()
            assert answer.headers["Location"] == f"/calculations/{posted['id']}"
            assert [item["id"] for item in await history_of(caller)][:2] == [got["id"], posted["id"]]
            for calculation in (posted, got):
                assert calculation.pop("elapsed_ms") >= 0
                del calculation["id"], calculation["cached"]
            assert posted == got

    async def test_a_number_is_the_digits_that_stand_in_the_body(self, caller: httpx.AsyncClient) -> None:
        """A JSON number keeps all its digits and never becomes a float; ``2.0`` means 2."""
        number = "0." + "1" * 40
        body = '{"operation":"pow","input":{"x":' + number + ',"y":2.0}}'
        answer = (await caller.post("/calculations", content=body, headers=JSON)).json()
        assert answer["input"] == {"x": number, "y": 2}
        square = str(int("1" * 40) ** 2)
        assert answer["result"] == "0.0" + square.rjust(79, "0")

    async def test_operands_of_the_greatest_length(self, caller: httpx.AsyncClient) -> None:
        """With ``mod``, pow accepts a base or exponent of 10,000 digits; without it, a longer base is refused."""
        modulus = mpz(SEVENS + 1)
        answer = await calculate(caller, "pow", input={"x": LONG, "y": "3"}, mod=modulus.digits())
        assert answer.json()["result"] == mpz(pow(SEVENS, 3, int(modulus))).digits()
        answer = await calculate(caller, "pow", input={"x": "3", "y": LONG}, mod="97")
        assert answer.json()["result"] == pow(3, SEVENS, 97)
        refused = await calculate(caller, "pow", input={"x": LONG + "7", "y": "2"})
        detail = "x must have at most 10,000 digits, or be taken with mod."
        assert refused.json()["errors"] == [{"pointer": "/input/x", "detail": detail}]

    async def test_errors_have_pointers(self, caller: httpx.AsyncClient) -> None:
        """An invalid body gets 422: each error has a pointer into the body and a message, and nothing is recorded."""
        for body, pointers in MALFORMED.items():
            answer = await caller.post("/calculations", content=body, headers=JSON)
            assert answer.status_code == 422
            assert [error["pointer"] for error in answer.json()["errors"]] == pointers, body
            assert all(error["detail"].endswith(".") for error in answer.json()["errors"])
        assert await history_of(caller) == []

    @having(max_digits=1_000)
    async def test_an_error_is_no_calculation(self, caller: httpx.AsyncClient) -> None:
        """A calculation that fails is not recorded and has no Location."""
        answers = [
            await calculate(caller, "pow", input={"x": 0, "y": -1}),
            await calculate(caller, "factorial", input={"n": 5_000}),
            await caller.post("/calculations", content=b"{" + b" " * 2_065_536, headers=JSON),
        ]
        types = [answer.json()["type"].rpartition("#")[2] for answer in answers]
        assert types == ["domain-error", "result-too-large", "payload-too-large"]
        assert [answer.headers.get("Location") for answer in answers] == [None] * 3
        assert await history_of(caller) == []

    @having(rate_limit="3/minute")
    async def test_it_counts_towards_the_quota(self, caller: httpx.AsyncClient) -> None:
        """Posted calculations, even invalid ones, and reading digits count towards the rate limit.

        Reading a calculation without its digits does not count.
        """
        path = await path_of(caller, "fibonacci", input={"n": 10})
        assert (await calculate(caller, "fibonacci", input={"n": -1})).headers["RateLimit"].startswith('"minute";r=1')
        assert (await caller.get(f"{path}/digits")).headers["RateLimit"].startswith('"minute";r=0')
        for answer in (await calculate(caller, "fibonacci", input={"n": 10}), await caller.get(f"{path}/digits")):
            assert (answer.status_code, "Retry-After" in answer.headers) == (429, True)
        assert (await caller.get(path)).status_code == 200

    async def test_the_bare_result(self, caller: httpx.AsyncClient) -> None:
        """A POST with ``Accept: text/plain`` gets the digits, with a Location and without an ETag."""
        body = {"operation": "fibonacci", "input": {"n": 90}}
        answer = await caller.post("/calculations", json=body, headers={**TEXT, "Range": "bytes=0-1"})
        assert (answer.status_code, answer.text) == (201, "2880067194370816120")
        assert answer.headers["Location"] == f"/calculations/{answer.headers['X-Calculation-Id']}"
        assert "ETag" not in answer.headers

    async def test_the_time_of_the_body_does_not_count(self, caller: httpx.AsyncClient) -> None:
        """``elapsed_ms`` does not include the time in which the request's body arrives."""
        sent = 0.0

        async def body() -> AsyncIterator[bytes]:
            nonlocal sent
            yield b'{"operation":"fibonacci",'
            for _ in range(20):  # other requests take time meanwhile
                await caller.get("/me")
            sent = perf_counter()
            yield b'"input":{"n":10}}'

        answer = await caller.post("/calculations", content=body(), headers=JSON)
        assert answer.json()["elapsed_ms"] <= (perf_counter() - sent) * 1_000

    async def test_a_long_result_is_streamed(self, caller: httpx.AsyncClient) -> None:
        """A long result from a worker arrives complete."""
        answer = await calculate(caller, "factorial", input={"n": 100_000})
        assert answer.status_code == 201
        assert answer.json()["result"] == mpz(math.factorial(100_000)).digits()


class TestReading:
    """Reading calculations by ``GET /calculations/{id}``."""

    async def test_it_is_the_item_of_the_history(self, caller: httpx.AsyncClient) -> None:
        """``GET /calculations/{id}`` returns the history item of a calculation from any route, and records nothing."""
        await caller.get("/pow/2/0.5")
        await caller.post("/batch", json={"operations": [{"operation": "fibonacci", "input": {"n": 90}}]})
        await path_of(caller, "factorial", input={"n": 2_000})
        items = await history_of(caller)
        for item in items:
            answer = await caller.get(f"/calculations/{item['id']}")
            assert (answer.status_code, answer.json()) == (200, item)
        assert await history_of(caller) == items

    async def test_it_is_the_owners_and_the_admins(self, client: httpx.AsyncClient, settings: Settings) -> None:
        """Only its owner and an admin can read a calculation and its digits; other users get 404."""
        admin, token = new_name(), (settings.data_dir / "bootstrap-token").read_text().strip()
        await client.post("/register", json=registration(admin, role="admin"), headers={"X-Bootstrap-Token": token})
        await new_session(client)
        path = await path_of(client, "fibonacci", input={"n": 100})
        paths = (path, f"{path}/digits")
        assert [(await client.get(path)).status_code for path in paths] == [200, 200]
        del client.headers["Authorization"]
        assert [(await client.get(path)).status_code for path in paths] == [401, 401]
        await new_session(client)
        for hidden in paths:
            answer = await client.get(hidden)
            assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such calculation.")
        session = (await client.post("/login", json={"username": admin, "password": PASSWORD})).json()
        client.headers["Authorization"] = f"Bearer {session['access_token']}"
        assert [(await client.get(path)).status_code for path in paths] == [200, 200]

    @pytest.mark.parametrize("name", ["019aab12-7c00-7123-8456-426614174000", "nothing", "1"])
    async def test_an_unknown_id_is_not_found(self, caller: httpx.AsyncClient, name: str) -> None:
        """An unknown id, and a text that is no id, get 404."""
        for path in (f"/calculations/{name}", f"/calculations/{name}/digits"):
            answer = await caller.get(path)
            assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such calculation.")


class TestDigits:
    """Reading digits by ``GET /calculations/{id}/digits``."""

    @pytest.mark.parametrize("settings", [{}, NOT_CACHED], indirect=True)
    async def test_they_equal_those_by_path(self, caller: httpx.AsyncClient) -> None:
        """Digits from the history, the cache or a new computation equal those of the operation's own route.

        Reading them records nothing.
        """
        rows: list[tuple[dict[str, object], str]] = [
            ({"operation": "fibonacci", "input": {"n": 100}}, "/fibonacci/100"),
            ({"operation": "fibonacci", "input": {"n": 10_000}}, "/fibonacci/10000"),
            ({"operation": "factorial", "input": {"n": 30_000}}, "/factorial/30000"),
            ({"operation": "pow", "input": {"x": "-1.5", "y": 3_000}}, "/pow/-1.5/3000"),
            ({"operation": "pow", "input": {"x": 2, "y": 0.5}, "precision": 3_000}, "/pow/2/0.5?precision=3000"),
        ]
        for body, path in rows:
            expected = await caller.get(path, headers=TEXT)
            location = (await caller.post("/calculations", json=body)).headers["Location"]
            items = await history_of(caller)
            answer = await caller.get(f"{location}/digits")
            assert (answer.status_code, answer.content) == (200, expected.content), path
            for name in ("Content-Type", "Repr-Digest", "Accept-Ranges", "Cache-Control", "Vary"):
                assert answer.headers[name] == expected.headers[name], name
            assert answer.headers["X-Calculation-Id"] == location.rpartition("/")[2]
            assert answer.headers.get("X-Exact") == expected.headers.get("X-Exact")
            assert await history_of(caller) == items

    @having(**NOT_CACHED)
    async def test_an_evaluation_is_made_again(self, caller: httpx.AsyncClient) -> None:
        """The digits of an expression can be computed again from its recorded text."""
        evaluation = await caller.post("/evaluate", json={"expression": "10^2000 + 1", "precision": 5})
        answer = await caller.get(f"/calculations/{evaluation.json()['id']}/digits")
        assert (answer.status_code, answer.text) == (200, "1" + "0" * 1_999 + "1")

    @pytest.mark.parametrize("settings", [{}, NOT_CACHED], indirect=True)
    @pytest.mark.parametrize("n", [100, 50_000])
    async def test_ranges_and_validators(self, caller: httpx.AsyncClient, n: int) -> None:
        """Ranges and conditions follow RFC 9110, sections 13 and 14."""
        digits = f"{await path_of(caller, 'fibonacci', input={'n': n})}/digits"
        whole = await caller.get(digits)
        etag = whole.headers["ETag"]
        rows: list[tuple[Mapping[str, str], int, bytes]] = [
            ({"Range": "bytes=0-3"}, 206, whole.content[:4]),
            ({"Range": "bytes=-5"}, 206, whole.content[-5:]),
            ({"Range": "bytes=0-3", "If-Range": '"another"'}, 200, whole.content),
            ({"Range": "bytes=0-3", "If-Match": etag}, 206, whole.content[:4]),
            ({"If-None-Match": etag}, 304, b""),
            ({"If-None-Match": "*"}, 304, b""),
            ({"If-None-Match": '"another"'}, 200, whole.content),
        ]
        for headers, status, content in rows:
            answer = await caller.get(digits, headers=headers)
            assert (answer.status_code, answer.content) == (status, content), headers
            assert answer.headers["ETag"] == etag
        assert (await caller.get(digits, headers={"If-Match": '"another"'})).status_code == 412
        beyond = await caller.get(digits, headers={"Range": "bytes=9999999-"})
        assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{len(whole.content)}")
        head = await caller.head(digits)
        assert (head.status_code, head.content, head.headers["Content-Length"]) == (200, b"", str(len(whole.content)))
        assert len(await history_of(caller)) == 1

    async def test_they_are_compressed_when_asked_for(self, caller: httpx.AsyncClient) -> None:
        """With ``Accept-Encoding: gzip``, digits are compressed and have a different ETag."""
        digits = f"{await path_of(caller, 'factorial', input={'n': 2_000})}/digits"
        plain = await caller.get(digits)
        async with caller.stream("GET", digits, headers={"Accept-Encoding": "gzip"}) as answer:
            packed = b"".join([part async for part in answer.aiter_raw()])
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["ETag"] == f'{plain.headers["ETag"][:-1]}-gzip"'
        assert gzip.decompress(packed) == plain.content == mpz(math.factorial(2_000)).digits().encode()

    async def test_a_summary_has_none(self, caller: httpx.AsyncClient) -> None:
        """A request for the digits of a summary gets 404 with the reason."""
        path = await path_of(caller, "fibonacci", input={"n": 10**6}, view="summary")
        answer = await caller.get(f"{path}/digits")
        assert answer.status_code == 404
        assert answer.json()["detail"].startswith("This calculation is a summary, which has no digits")

    @pytest.mark.parametrize(("settings", "status"), [({}, 200), (NOT_CACHED, 404)], indirect=["settings"])
    async def test_operands_that_are_not_kept(self, caller: httpx.AsyncClient, status: int) -> None:
        """A long result of long operands, which are not stored, can be read only while it is cached.

        A short result can always be read.
        """
        short = await path_of(caller, "pow", input={"x": LONG, "y": 2}, mod=97)
        assert (await caller.get(f"{short}/digits")).text == str(pow(SEVENS, 2, 97))
        cases: list[tuple[float, dict[str, object]]] = [
            (2, {}),
            (2, {"base": 7}),
            (2, {"mod": "3" + "0" * 9_998 + "1"}),
            (0.5, {"precision": 2_000}),
        ]
        for exponent, options in cases:
            path = await path_of(caller, "pow", input={"x": f"{LONG[1:]}8", "y": exponent}, **options)
            assert (await caller.get(f"{path}/digits")).status_code == status, options
        expression = await caller.post("/evaluate", json={"expression": "+".join(["12345678"] * 300) + "+10^2000"})
        answer = await caller.get(f"/calculations/{expression.json()['id']}/digits")
        assert answer.status_code == status

    async def test_a_recomputed_result_with_another_digest_is_not_sent(
        self, caller: httpx.AsyncClient, resources: Resources
    ) -> None:
        """If a result that is computed again does not have the recorded digest, VerificationFailed is raised."""
        path = await path_of(caller, "fibonacci", input={"n": 10_000})
        (item,) = await history_of(caller)
        owner = Principal(b"u" * 16, "ada", Role.ADMIN, IdSource().next(), math.inf)
        row = await resources.history._history.find(id_of_text(path.rpartition("/")[2]))
        assert row is not None
        request = recorded_request(row)
        assert request is not None
        plan = make_plan(25_000_000, *request)
        result = await resources.calculator.make_again(owner, row, plan)
        assert base64.b16encode(sha256(result.text).digest()).decode().lower() == item["sha256"]
        with pytest.raises(VerificationFailed):
            await resources.calculator.make_again(owner, row._replace(sha256=bytes(32)), plan)
