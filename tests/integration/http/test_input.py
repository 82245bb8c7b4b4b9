"""Rules for input: one content type, each name once, RFC 3339 times, and messages in the service's own words."""

from __future__ import annotations

import json
import re
from time import perf_counter
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from pycalc.resources.wiring import Resources
from pycalc.settings import Settings
from tests.harness.accounts import PASSWORD, history_of, new_name, new_session, registration
from tests.harness.waiting import found

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
# A valid body for each route that accepts one.
BODIES = {
    ("POST", "/register"): {"username": "ada", "email": "ada@example.com", "password": PASSWORD},
    ("POST", "/login"): {"username": "ada", "password": PASSWORD},
    ("POST", "/token/refresh"): {"refresh_token": "pcr_x"},
    ("POST", "/me/keys"): {"name": "report"},
    ("DELETE", "/me"): {"password": PASSWORD},
    ("POST", "/password-reset"): {"token": "pcp_x", "new_password": PASSWORD},
    ("PUT", "/me/password"): {"current_password": PASSWORD, "new_password": "another good one"},
    ("PATCH", "/users/ada"): {"disabled": True},
    ("POST", "/me/totp"): {"password": PASSWORD},
    ("POST", "/me/totp/confirm"): {"totp": "123456"},
    ("POST", "/me/totp/disable"): {"password": PASSWORD, "totp": "123456"},
    ("POST", "/calculations"): {"operation": "fibonacci", "input": {"n": 1}},
    ("POST", "/batch"): {"operations": [{"operation": "fibonacci", "input": {"n": 1}}]},
    ("POST", "/evaluate"): {"expression": "2^10"},
    ("POST", "/evaluate/preview"): {"expression": "2^10"},
}
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
# Phrases of the validation library, which must not reach clients.
VALIDATOR = ("Input should", "String should", "Field required", "Extra inputs", "Value error", "valid integer")


def each_body() -> pytest.MarkDecorator:
    """Return a mark that runs a test for each route with a body."""
    rows = [(method, path, body) for (method, path), body in BODIES.items()]
    return pytest.mark.parametrize(("method", "path", "body"), rows, ids=[path for _, path, _ in rows])


def pointers(answer: httpx.Response) -> list[str]:
    """Return the pointers in a 422."""
    assert answer.status_code == 422, answer.text
    return [error["pointer"] for error in answer.json()["errors"]]


@pytest.fixture
async def admin(client: httpx.AsyncClient, settings: Settings) -> str:
    """Register the first admin, log the client in as this admin, and return the name."""
    name, token = new_name(), (settings.data_dir / "bootstrap-token").read_text().strip()
    body = registration(name, role="admin")
    answer = await client.post("/register", json=body, headers={"X-Bootstrap-Token": token})
    assert answer.status_code == 201, answer.text
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    client.headers["Authorization"] = f"Bearer {session['access_token']}"
    return name


def test_every_route_with_a_body_is_tried(app: FastAPI) -> None:
    """``BODIES`` has an example for every route that takes a body, so that each of them is tested."""
    paths = app.openapi()["paths"].items()
    with_body = {(method.upper(), path) for path, item in paths for method in item if "requestBody" in item[method]}
    assert {(method, path.replace("ada", "{username}")) for method, path in BODIES} == with_body


@each_body()
async def test_a_body_of_another_type_is_415(
    client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any]
) -> None:
    """A body with a wrong or no content type gets 415, whose message and ``Accept`` name the right one."""
    await new_session(client)
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "application/xml"}, {}):
        answer = await client.request(method, path, content=json.dumps(body).encode(), headers=headers)
        assert (answer.status_code, answer.headers["Content-Type"]) == (415, "application/problem+json"), answer.text
        problem = answer.json()
        assert problem["type"] == "/docs/problems#unsupported-media-type"
        assert "send Content-Type: application/json" in problem["detail"]
        assert answer.headers["Accept"].startswith("application/json")


@each_body()
async def test_a_compressed_body_is_415(
    client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any]
) -> None:
    """A compressed body gets 415, and Accept-Encoding names the accepted codings (RFC 9110 §15.5.16)."""
    await new_session(client)
    answer = await client.request(
        method, path, content=json.dumps(body).encode(), headers={**JSON, "Content-Encoding": "gzip"}
    )
    assert (answer.status_code, answer.headers["Accept-Encoding"]) == (415, "identity"), answer.text


@each_body()
async def test_a_member_named_twice_is_refused(
    client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any]
) -> None:
    """A body with a repeated member is refused with the name of that member."""
    await new_session(client)
    name, value = next(iter(body.items()))
    member = f"{json.dumps(name)}:{json.dumps(value)}"
    text = "{" + f"{member},{member}" + json.dumps(body).replace("{", ",", 1)
    answer = await client.request(method, path, content=text.encode(), headers=JSON)
    assert pointers(answer) == [""]
    assert answer.json()["detail"].startswith(f"The member {name} is given more than once:")


async def test_an_operand_named_twice_in_a_batch_is_refused(client: httpx.AsyncClient) -> None:
    """A batch with a repeated operand is refused."""
    await new_session(client)
    text = b'{"operations":[{"operation":"fibonacci","input":{"n":1}},{"operation":"fibonacci","input":{"n":2,"n":3}}]}'
    answer = await client.post("/batch", content=text, headers=JSON)
    assert pointers(answer) == [""]
    assert "The member n is given more than once:" in answer.text


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/pow/2/3?mod=5&mod=7", "mod"),
        ("GET", "/fibonacci/10?view=full&view=full", "view"),
        ("GET", "/secure-history?limit=1&limit=2", "limit"),
        ("GET", "/secure-history?operation=pow&operation=fibonacci", "operation"),
        ("GET", "/usage?since=2026-01-01&since=2026-01-02", "since"),
        ("GET", "/users?limit=1&limit=2", "limit"),
        ("GET", "/me?a=1&a=2", "a"),
        ("POST", "/login?a=1&a=2", "a"),
        ("POST", "/batch?a=1&a=2", "a"),
    ],
)
async def test_a_query_parameter_given_twice_is_refused(
    client: httpx.AsyncClient, method: str, path: str, name: str
) -> None:
    """A repeated query parameter is refused with a pointer to that parameter."""
    await new_session(client)
    assert pointers(await client.request(method, path)) == [f"/{name}"]


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/fibonacci/10"), ("GET", "/secure-history"), ("GET", "/usage"), ("POST", "/login")]
)
async def test_a_query_of_more_parameters_than_any_route_has_is_refused(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    """A query of more than 64 parameters gets a single error, because reading thousands would block the event loop."""
    await new_session(client)
    queries = ["&".join(f"p{number}=%41" for number in range(count)) for count in (64, 65, 5_000)]
    answers = [await client.request(method, f"{path}?{query}", json={}) for query in queries]
    assert [answer.status_code for answer in answers] == [422] * 3
    assert "more than 64 parameters" not in answers[0].json()["detail"]
    for answer in answers[1:]:
        assert answer.json()["errors"] == [
            {"pointer": "", "detail": "The query has more than 64 parameters: leave out those that do not exist."}
        ]


async def test_the_parameters_of_a_page_without_parameters_are_ignored(client: httpx.AsyncClient) -> None:
    """Routes that read no query ignore its parameters, however many there are."""
    query = "&".join(f"p{number}=%41" for number in range(5_000))
    assert (await client.get(f"/healthz?{query}")).status_code == 200


async def test_an_unknown_query_parameter_of_a_list_is_refused(client: httpx.AsyncClient, admin: str) -> None:
    """A misspelt filter or cursor is refused; otherwise it would silently select something else."""
    for path in ("/secure-history", "/users", "/usage"):
        assert pointers(await client.get(path, params={"curser": "x"})) == ["/curser"], path


async def test_a_whole_number_in_a_query_is_written_in_digits(client: httpx.AsyncClient, admin: str) -> None:
    """A whole number in a query must be written in digits, as in a path."""
    for text in ("5.0", "1_0", " 5", "+5", "1e1", "\u0663", ""):
        for path, name in (("/secure-history", "limit"), ("/users", "limit"), ("/pow/2/0.5", "precision")):
            assert pointers(await client.get(path, params={name: text})) == [f"/{name}"], (path, text)
    assert (await client.get("/users", params={"limit": "007"})).status_code == 200


NO_MOMENTS = [
    *("2026", "0", "-1", "1e9", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "20260101T000000Z"),
    *("2026-01-01T00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00+0200", ""),
]
NO_DAYS = ["2026", "0", "-1", "20260101", "2026-W01-1", "2026-02-30", "2026-01-01T00:00:00Z", ""]


@pytest.mark.parametrize("name", ["since", "until"])
async def test_a_time_is_rfc_3339_or_refused(client: httpx.AsyncClient, name: str) -> None:
    """A time must be in RFC 3339 form; a number is refused instead of being read as seconds."""
    await new_session(client)
    for path, texts in (("/secure-history", NO_MOMENTS), ("/usage", NO_DAYS)):
        for text in texts:
            assert pointers(await client.get(path, params={name: text})) == [f"/{name}"], text
    for text in ("2026-01-01T00:00:00Z", "2026-01-01t00:00:00z", "2026-01-01T00:00:00.123456+02:00"):
        assert (await client.get("/secure-history", params={name: text})).status_code == 200
    assert (await client.get("/usage", params={name: "2026-01-01"})).status_code == 200


async def test_times_have_one_form_everywhere(client: httpx.AsyncClient, admin: str) -> None:
    """Times in accounts, keys, history and exports are UTC with milliseconds and ``Z``."""
    await client.get("/fibonacci/10")
    key = (await client.post("/me/keys", json={"name": "report", "expires_in": 3600})).json()
    (item,) = await history_of(client)
    line = (await client.get("/secure-history", headers={"Accept": "application/x-ndjson"})).json()
    row = (await client.get("/secure-history", headers={"Accept": "text/csv"})).text.splitlines()[1]
    times = [
        (await client.get("/me")).json()["created_at"],
        (await client.get("/users")).json()["items"][0]["created_at"],
        (await client.get(f"/users/{admin}")).json()["created_at"],
        (await client.patch(f"/users/{admin}", json={"role": "admin"})).json()["created_at"],
        *(key["created_at"], key["expires_at"]),
        *(item["created_at"], line["created_at"], row.rpartition(",")[2]),
    ]
    assert [time for time in times if not TIMESTAMP.fullmatch(time)] == []


async def test_a_modulus_below_1_has_one_sentence(client: httpx.AsyncClient) -> None:
    """A modulus that is zero, negative, fractional, empty or no number gets the same message."""
    await new_session(client)
    answers = [await client.get("/pow/2/3", params={"mod": text}) for text in ("0", "-7", "seven", "1.5", "")]
    details = {(answer.json()["detail"], answer.json()["errors"][0]["detail"]) for answer in answers}
    assert details == {("mod must be a whole number of 1 or more, such as 12, 1e6 or 0xFF.",) * 2}


async def test_messages_are_sentences_of_our_own(client: httpx.AsyncClient, admin: str) -> None:
    """Each message is a sentence that names the field and the expectation, without the validation library's phrases."""
    strange = {"a": [1], "role": 5, "disabled": "yes", "expires_in": 1, "name": "\n", "username": "?", "password": 3}
    strange |= {"email": "x", "confirm_password": 1, "refresh_token": 7, "current_password": [], "new_password": None}
    texts = [json.dumps(strange), "{}", "[]", '"x"']
    answers = [
        await client.request(method, path, content=text, headers=JSON)
        for method, path in BODIES
        for text in (*texts, "{")
        if (method, text) != ("PATCH", "{}")  # accepted, but changes nothing
    ]
    long = "x" * 300
    targets = (
        "/secure-history?limit=0&operation=sine&since=1&until=2&more=1&cursor=!",
        f"/secure-history?limit=ten&user={long}&cursor={long}",
        f"/usage?since=1&until=2&more=1&user={long}",
        f"/users?limit=0&cursor={long}&more=1",
        f"/users/{long}",
        "/users?cursor=!",
        "/pow/a/b",
        "/fibonacci/",
        "/fibonacci/-1",
        "/pow/2/3?precision=0",
        "/pow/2/3?view=half",
        "/pow/2/3?view=summary&mod=7",
        "/pow/2/3?more=1",
    )
    answers += [await client.get(target) for target in targets]
    checked = 0
    for answer in answers:
        assert answer.status_code == 422, answer.text
        problem = answer.json()
        for error in problem["errors"]:
            checked += 1
            sentence = error["detail"]
            assert re.fullmatch(r"[A-Za-z].*\.", sentence), sentence
            assert not any(words in answer.text for words in VALIDATOR), sentence
            name = error["pointer"].rpartition("/")[2]
            assert name.lower() in sentence.lower() or name.isdigit(), error
    assert checked > 60


async def test_a_refused_member_says_what_is_expected(client: httpx.AsyncClient) -> None:
    """Every wrong value of a member gets the same message, whether it is too small, too large, or of another type."""
    await new_session(client)
    for value in (0, 10**10, "sixty", "60", True, 60.5):
        answer = await client.post("/me/keys", json={"name": "report", "expires_in": value})
        assert answer.json()["detail"] == (
            "expires_in must be a whole number of seconds from 60 to 315,360,000, or null."
        )
    answer = await client.get("/secure-history?limit=1001")
    assert answer.json()["detail"] == "limit must be a whole number from 1 to 1,000."


async def test_elapsed_ms_counts_from_the_arrival(
    client: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``elapsed_ms`` includes the time in which the service estimates the cost of the calculation."""
    await new_session(client)
    plan, took = resources.calculator.plan, [0.0]

    async def plan_slowly(*arguments: Any) -> Any:
        began = perf_counter()
        made = await plan(*arguments)
        while perf_counter() - began < 0.02:
            pass
        took[0] = perf_counter() - began
        return made

    monkeypatch.setattr(resources.calculator, "plan", plan_slowly)
    answer = (await client.get("/fibonacci/77")).json()
    assert answer["elapsed_ms"] >= took[0] * 1000 - 0.002  # the time is rounded to whole microseconds
    monkeypatch.setattr(resources.calculator, "plan", plan)
    (item,) = await history_of(client)
    assert item["elapsed_ms"] == answer["elapsed_ms"]


async def counted(client: httpx.AsyncClient) -> dict[str, Any] | None:
    """Return the user who has three calculations in today's usage, or None if there is none yet."""
    users = (await client.get("/users")).json()["items"]
    return next((user for user in users if user["today"]["calculations"] == 3), None)


async def test_pages_link_to_the_next(client: httpx.AsyncClient, admin: str) -> None:
    """Each page but the last links to the next one, with the other parameters kept (RFC 8288)."""
    for _ in range(3):
        await client.get("/pow/2/3")
        await client.post("/register", json=registration(new_name()))
    await found(lambda: counted(client), "today's usage has all three calculations")
    for path in ("/secure-history?limit=2&operation=pow", "/users?limit=2"):
        whole = (await client.get(path.replace("limit=2", "limit=100"))).json()["items"]
        target, seen = path, []
        while target:
            answer = await client.get(target)
            page = answer.json()
            assert ("Link" in answer.headers) == (page["next_cursor"] is not None)
            seen += page["items"]
            link = answer.links.get("next")
            target = link["url"] if link else ""
        assert seen == whole
        assert len(seen) >= 3


async def test_what_is_made_has_a_location(client: httpx.AsyncClient, admin: str) -> None:
    """The Location of a 201 is the new resource: the admin can read the new account there, and delete the new key."""
    name = new_name()
    registered = await client.post("/register", json=registration(name))
    assert registered.headers["Location"] == f"/users/{name}"
    assert (await client.get(registered.headers["Location"])).json()["id"] == registered.json()["id"]
    key = await client.post("/me/keys", json={"name": "report"})
    assert key.headers["Location"] == f"/me/keys/{key.json()['id']}"
    assert (await client.delete(key.headers["Location"])).status_code == 204


async def test_an_account_is_shown_to_admins_only(client: httpx.AsyncClient, admin: str) -> None:
    """An admin finds an account by its name in any letter case.

    An unknown name gets 404. Other users get 403, even for their own name, and requests without a token get 401.
    """
    account = (await client.get(f"/users/{admin.upper()}")).json()
    listed = (await client.get("/users")).json()["items"][0]
    assert account == {name: listed[name] for name in account}
    missing = await client.get("/users/nobody-at-all")
    assert (missing.status_code, missing.json()["detail"]) == (404, "There is no such user.")
    await new_session(client)
    own = (await client.get("/me")).json()["username"]
    for name in (admin, own, "nobody-at-all"):
        assert (await client.get(f"/users/{name}")).status_code == 403
    del client.headers["Authorization"]
    assert (await client.get(f"/users/{admin}")).status_code == 401


async def test_the_oauth2_form_refreshes(client: httpx.AsyncClient) -> None:
    """A refresh by the OAuth2 form returns the same members as a login, with a working access token (RFC 6749 §6)."""
    session = await new_session(client)
    form = {"grant_type": "refresh_token", "refresh_token": session["refresh_token"], "scope": "", "client_id": "x"}
    answer = await client.post("/token/refresh", data=form)
    assert answer.status_code == 200, answer.text
    refreshed = answer.json()
    assert refreshed.keys() == session.keys()
    client.headers["Authorization"] = f"Bearer {refreshed['access_token']}"
    assert (await client.get("/me")).status_code == 200


OAUTH2 = {
    "a wrong password": ("/login", b"grant_type=password&username=ada&password=wrong", "invalid_grant"),
    "no password": ("/login", b"grant_type=password&username=ada&password=", "invalid_request"),
    "a user twice": ("/login", b"grant_type=password&username=a&username=b&password=c", "invalid_request"),
    "a login of another grant": ("/login", b"grant_type=client_credentials", "unsupported_grant_type"),
    "an unknown token": ("/token/refresh", b"grant_type=refresh_token&refresh_token=pcr_x", "invalid_grant"),
    "no token": ("/token/refresh", b"grant_type=refresh_token", "invalid_request"),
    "a token twice": ("/token/refresh", b"grant_type=refresh_token&refresh_token=a&refresh_token=b", "invalid_request"),
    "no grant type": ("/token/refresh", b"refresh_token=pcr_x", "invalid_request"),
    "another grant": ("/token/refresh", b"grant_type=password&username=a&password=b", "unsupported_grant_type"),
    "a token too long": ("/token/refresh", b"grant_type=refresh_token&refresh_token=" + b"x" * 300, "invalid_request"),
    "no form": ("/token/refresh", b"refresh_token", "invalid_request"),
    "an empty form": ("/login", b"", "invalid_request"),
    "a form not UTF-8": ("/login", b"username=\xff&password=b", "invalid_request"),
    "a form of 50 fields": ("/login", b"&".join(b"a%d=1" % n for n in range(50)), "invalid_request"),
}


@pytest.mark.parametrize(("path", "form", "code"), OAUTH2.values(), ids=OAUTH2.keys())
async def test_a_refused_oauth2_form_gets_an_oauth2_error(
    client: httpx.AsyncClient, path: str, form: bytes, code: str
) -> None:
    """A refused OAuth2 form gets 400 with an error code, an ASCII description and no-store (RFC 6749 §5.2)."""
    answer = await client.post(path, content=form, headers=FORM)
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/json")
    error = answer.json()
    assert (error["error"], error.keys()) == (code, {"error", "error_description"})
    assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", error["error_description"])
    assert "no-store" in answer.headers["Cache-Control"]


async def test_a_refused_form_is_in_the_audit_log(client: httpx.AsyncClient) -> None:
    """A refused login by form is logged with its status, route, username and reason, and without the password."""
    with capture_logs() as records:
        await client.post("/login", data={"username": "eve", "password": "guess"})
    (refusal,) = [record for record in records if record["event"] == "request refused"]
    assert (refusal["status"], refusal["route"], refusal["tried"]) == (400, "/login", "eve")
    assert refusal["reason"] == "The username or the password is wrong."
    assert "guess" not in str(records)
