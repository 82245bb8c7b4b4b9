"""Bad input over a real server: each request gets its documented problem, and nothing is recorded."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import gmpy2
import httpx
import mpmath
import pytest

from tests.harness.accounts import PASSWORD, Person, new_name, new_person, registration
from tests.harness.raw import Reply, exchange
from tests.harness.servers import Server

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TEXT = {"Content-Type": "text/plain"}
TEN_MEGABYTES = b'{"username":"' + b"a" * 10_000_000 + b'"}'
DEEP = b"[" * 4_000 + b"]" * 4_000
NAME, EMAIL = "taken" + secrets.token_hex(6), f"{secrets.token_hex(8)}@example.com"


@dataclass(frozen=True, slots=True)
class Row:
    """A request, and the problem that it should get."""

    target: str | bytes
    status: int
    slug: str
    pointers: tuple[str, ...] = ()
    method: str = "GET"
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    chunked: bool = False
    # Members of the problem in addition to the usual ones.
    members: Mapping[str, object] = field(default_factory=dict)
    # Header fields of the response in addition to the usual ones.
    fields: Mapping[str, str] = field(default_factory=dict)


def invalid(target: str | bytes, *pointers: str) -> Row:
    """Return a GET that should get a validation error with these pointers."""
    return Row(target, 422, "validation-error", pointers)


def register(status: int, slug: str, *pointers: str, **changes: object) -> Row:
    """Return a registration with these changes, and the problem that it should get."""
    body = json.dumps(registration(new_name(), **changes)).encode()
    return Row("/register", status, slug, pointers, "POST", body, JSON)


def post(target: str, body: bytes, *pointers: str, headers: Mapping[str, str] = JSON) -> Row:
    """Return a POST whose body should get a validation error with these pointers."""
    return Row(target, 422, "validation-error", pointers, "POST", body, headers)


# Digits of F(10^30), by log10(phi) in mpmath (80 digits) and by fast doubling modulo 10^20.
F_10_30 = {
    "digits": "208987640249978733769272089238",
    "limit": 25_000_000,
    "leading": "16066889997798659155",
    "trailing": "59183788299560546875",
}

CALCULATIONS = {
    "n is negative": invalid("/fibonacci/-1", "/n"),
    "n is no number": invalid("/fibonacci/abc", "/n"),
    "n is a fraction": invalid("/fibonacci/1.5", "/n"),
    "n is empty": invalid("/fibonacci/", "/n"),
    "n is NaN": invalid("/fibonacci/NaN", "/n"),
    "n is infinite": invalid("/fibonacci/inf", "/n"),
    "n has an exponent": invalid("/fibonacci/1e999999999", "/n"),
    "n has a plus": invalid("/fibonacci/+5", "/n"),
    "n has spaces": invalid("/fibonacci/%205", "/n"),
    "n has a line feed": invalid("/fibonacci/5%0A", "/n"),
    "n has a NUL": invalid("/fibonacci/5%00", "/n"),
    "n has Arabic digits": invalid("/fibonacci/%D9%A1%D9%A2", "/n"),
    "n has Arabic digits, unescaped": invalid("/fibonacci/\N{ARABIC-INDIC DIGIT ONE}", "/n"),
    "n is half an escape": invalid("/fibonacci/%", "/n"),
    "n is no escape": invalid("/fibonacci/%zz", "/n"),
    "n is not UTF-8": invalid("/fibonacci/%ff", "/n"),
    "n is an overlong slash": invalid("/fibonacci/%c0%af", "/n"),
    "n is too long a text": invalid("/fibonacci/" + "9" * 10_001, "/n"),
    "factorial of a negative": invalid("/factorial/-1", "/n"),
    "both operands wrong": invalid("/pow/x/NaN", "/x", "/y"),
    "y empty": invalid("/pow/2/", "/y"),
    "x infinite": invalid("/pow/-inf/2", "/x"),
    "x complex": invalid("/pow/1j/2", "/x"),
    "x hexadecimal with a point": invalid("/pow/0x1.8/2", "/x"),
    "unknown parameter": invalid("/pow/2/3?exact=1", "/exact"),
    "unknown parameter, escaped pointer": invalid("/pow/2/3?a~b%2Fc=1", "/a~0b~1c"),
    "precision 0": invalid("/pow/2/0.5?precision=0", "/precision"),
    "precision 10001": invalid("/pow/2/0.5?precision=10001", "/precision"),
    "precision abc": invalid("/pow/2/0.5?precision=abc", "/precision"),
    "precision empty": invalid("/pow/2/0.5?precision=", "/precision"),
    "zero to a negative": Row("/pow/0/-1", 422, "domain-error"),
    "even root of a negative": Row("/pow/-8/0.5", 422, "domain-error"),
    "F(10^30)": Row(f"/fibonacci/{10**30}", 422, "result-too-large", members=F_10_30),
    "10^999999999 squared": Row(
        "/pow/1e999999999/2",
        422,
        "result-too-large",
        members={"digits": 1_999_999_999, "limit": 25_000_000, "leading": "1" + "0" * 19, "trailing": "0" * 20},
    ),
    "an operand too many": Row("/fibonacci/1/2", 404, "not-found"),
    "an escaped slash": invalid("/fibonacci/1%2F2", "/n"),
    "a fraction in the place of two operands": Row("/pow/2%2F3", 404, "not-found"),
    "a fraction without a denominator": invalid("/pow/1%2F/2", "/x"),
    "a slash that is not escaped": Row("/pow/2/3/5", 404, "not-found"),
    "no operand at all": Row("/fibonacci", 404, "not-found"),
    "a wrong method": Row("/fibonacci/1", 405, "method-not-allowed", method="POST", fields={"Allow": "GET, HEAD"}),
    "an invented method": Row("/fibonacci/1", 405, "method-not-allowed", method="BREW", fields={"Allow": "GET, HEAD"}),
    "an invented method of several": Row(
        "/me/keys", 405, "method-not-allowed", method="BREW", fields={"Allow": "GET, HEAD, POST"}
    ),
    "a wrong method for an asset": Row(
        "/web/console.css", 405, "method-not-allowed", method="PUT", fields={"Allow": "GET, HEAD"}
    ),
    "an unknown path": Row("/nowhere", 404, "not-found"),
    "an unknown asset": Row("/web/nothing.js", 404, "not-found"),
    "an asset outside": Row("/web/%2e%2e/settings.py", 404, "not-found"),
    "an asset with a NUL": Row("/web/a%00b", 404, "not-found"),
}

HISTORY = {
    "limit 0": invalid("/secure-history?limit=0", "/limit"),
    "limit 1001": invalid("/secure-history?limit=1001", "/limit"),
    "limit no number": invalid("/secure-history?limit=ten", "/limit"),
    "a cursor of somebody else's": invalid("/secure-history?cursor=Zm9yZ2Vk", "/cursor"),
    "a cursor that is not ASCII": invalid("/secure-history?cursor=%ff", "/cursor"),
    "since without a zone": invalid("/secure-history?since=2026-01-01T00:00:00", "/since"),
    "until a number": invalid("/secure-history?until=0", "/until"),
    "until no time": invalid("/secure-history?until=yesterday", "/until"),
    "an unknown operation": invalid("/secure-history?operation=ackermann", "/operation"),
    "a misspelt filter": invalid("/secure-history?limits=5", "/limits"),
    "another user's": Row("/secure-history?user=somebody", 403, "forbidden"),
    "an event id": Row("/events", 422, "validation-error", ("/last-event-id",), headers={"Last-Event-ID": "not-an-id"}),
}

ACCOUNTS = {
    "unknown field": register(422, "validation-error", "/nickname", nickname="Ada"),
    "username taken": register(409, "conflict", username=NAME),
    "username taken in capitals": register(409, "conflict", username=NAME.upper()),
    "address taken": register(409, "conflict", email=EMAIL),
    "address taken in capitals": register(409, "conflict", email=EMAIL.upper()),
    "username with a NUL": register(422, "validation-error", "/username", username="ada\x00lovelace"),
    "username with a control": register(422, "validation-error", "/username", username="ada\x1b[2J"),
    "username with CRLF": register(422, "validation-error", "/username", username="ada\r\nSet-Cookie: a=b"),
    "username with a last line feed": register(422, "validation-error", "/username", username="ada\n"),
    "username with markup": register(422, "validation-error", "/username", username="<script>ada"),
    "username with bidi": register(422, "validation-error", "/username", username="ada\N{RIGHT-TO-LEFT OVERRIDE}x"),
    "username with a lone surrogate": register(422, "validation-error", "/username", username="ada\ud800"),
    "username too long": register(422, "validation-error", "/username", username="a" * 33),
    "username too short": register(422, "validation-error", "/username", username="ab"),
    "username a number": register(422, "validation-error", "/username", username=12345),
    "username null": register(422, "validation-error", "/username", username=None),
    "password a number": replace(
        register(422, "validation-error", "/password", password=12345678),
        members={"detail": "password must be a string of 8 to 1,024 characters, none of them NUL."},
    ),
    "password too short": register(422, "validation-error", "/password", password="1234567"),
    "password too long": register(422, "validation-error", "/password", password="x" * 1025),
    "password with a NUL": register(422, "validation-error", "/password", password="12345678\x00tail"),
    "password in surrogates": register(422, "validation-error", "/password", password="\ud800" * 8),
    "password not confirmed": register(422, "validation-error", "/confirm_password", confirm_password="another one"),
    "no address": register(422, "validation-error", "/email", email="ada"),
    "address with a display name": register(422, "validation-error", "/email", email="Ada <ada@example.com>"),
    "address with CRLF": register(422, "validation-error", "/email", email="ada\r\n@example.com"),
    "unknown role": register(422, "validation-error", "/role", role="root"),
    "admin without a token": register(403, "forbidden", role="admin"),
    "nothing": post("/register", b"", ""),
    "an empty object": post("/register", b"{}", "/username", "/email", "/password"),
    "an array": post("/register", b"[]", ""),
    "half a JSON": post("/register", b'{"username":', ""),
    "not UTF-8": post("/register", b'{"username":"\xff"}', ""),
    "a number of 5,000 digits": post(
        "/register", b'{"username":' + b"9" * 5_000 + b"}", "/username", "/email", "/password"
    ),
    "nested 4,000 deep": post("/register", DEEP, ""),
    "a field nested 500 deep": post(
        "/register", b'{"username":' + b"[" * 500 + b"]" * 500 + b"}", "/username", "/email", "/password"
    ),
    "a batch nested 10,000 deep": post("/batch", b'{"operations":' + b"[" * 10_000 + b"]" * 10_000 + b"}", ""),
    "text": Row("/register", 415, "unsupported-media-type", (), "POST", b"{}", TEXT),
    "a form": Row("/register", 415, "unsupported-media-type", (), "POST", b"username=ada&password=12345678", FORM),
    "10 MB": Row("/register", 413, "payload-too-large", (), "POST", TEN_MEGABYTES, JSON),
    "10 MB in chunks": Row("/register", 413, "payload-too-large", (), "POST", TEN_MEGABYTES, JSON, chunked=True),
    "login with 10 MB": Row("/login", 413, "payload-too-large", (), "POST", TEN_MEGABYTES, JSON),
    "login with text": Row("/login", 415, "unsupported-media-type", (), "POST", b"ada", TEXT),
    "login with half a JSON": post("/login", b"{", ""),
    "login nested 4,000 deep": post("/login", DEEP, ""),
    "login with a strange field": post("/login", b'{"username":"a","password":"b","c":1}', "/c"),
    "login as nobody": Row(
        "/login", 401, "unauthorized", (), "POST", b'{"username":"no one","password":"x"}', JSON,
        fields={"WWW-Authenticate": 'Bearer realm="pycalc"'},
    ),
    "login with a NUL": Row(
        "/login", 401, "unauthorized", (), "POST", b'{"username":"a\\u0000","password":"\\u0000"}', JSON,
        fields={"WWW-Authenticate": 'Bearer realm="pycalc"'},
    ),
    "GET /register": Row("/register", 405, "method-not-allowed", fields={"Allow": "POST"}),
}  # fmt: skip

ROWS = {**CALCULATIONS, **HISTORY, **ACCOUNTS}
TITLES = {
    "validation-error": "The input is not valid",
    "domain-error": "The operation is not defined for these operands",
    "result-too-large": "The result is too large to write out",
    "unauthorized": "Valid credentials are needed",
    "forbidden": "Not allowed",
    "not-found": "Not found",
    "method-not-allowed": "Method not allowed",
    "conflict": "In conflict with the stored state",
    "payload-too-large": "The request is too large",
    "unsupported-media-type": "The type of the body is not supported",
}


@pytest.fixture(scope="module")
def person(server: Server) -> Iterator[Person]:
    """Register the caller of the requests, and an account whose name and address are therefore taken."""
    with httpx.Client(base_url=server.url) as client:
        assert client.post("/register", json=registration(NAME, email=EMAIL)).status_code == 201
        yield new_person(client)


def assert_problem(reply: Reply, row: Row) -> None:
    """Assert that a response is the problem that ``row`` describes, in the form of RFC 9457."""
    assert (reply.status, reply.headers["Content-Type"]) == (row.status, "application/problem+json"), reply.body
    problem = reply.json()
    told = {name: problem[name] for name in ("type", "title", "status")}
    assert told == {"type": f"/docs/problems#{row.slug}", "title": TITLES[row.slug], "status": row.status}
    assert problem["detail"]
    assert problem["instance"].startswith("/")
    assert problem["instance"].isascii()
    assert problem["instance"].isprintable()
    assert tuple(error["pointer"] for error in problem.get("errors", ())) == row.pointers
    assert all(error["detail"] for error in problem.get("errors", ()))
    assert "Value error" not in reply.body.decode()
    assert {name: problem[name] for name in row.members} == row.members
    for name, value in {**row.fields, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}.items():
        assert reply.headers[name] == value
    assert "frame-ancestors 'none'" in reply.headers["Content-Security-Policy"]


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_bad_input_is_answered_with_its_problem_and_not_recorded(server: Server, person: Person, row: Row) -> None:
    """Each request gets the documented status, problem type and pointers, and the caller's history stays empty."""
    headers = {**person.headers, **row.headers}
    assert_problem(exchange(server.port, row.method, row.target, headers, row.body, chunked=row.chunked), row)
    assert exchange(server.port, "GET", "/secure-history", person.headers).json()["items"] == []


def test_index_of_5000_digits_is_sized_exactly(server: Server, person: Person) -> None:
    """The refusal of F(10^5000 - 1) states how many digits the result would have; the number equals mpmath's."""
    reply = exchange(server.port, "GET", "/fibonacci/" + "9" * 5_000, person.headers)
    assert_problem(reply, Row("", 422, "result-too-large"))
    with mpmath.workdps(5_050):
        logarithm = (mpmath.mpf(10) ** 5_000 - 1) * mpmath.log10(mpmath.phi) - mpmath.log10(5) / 2
        digits = int(mpmath.floor(logarithm)) + 1
    assert reply.json()["digits"] == gmpy2.mpz(digits).digits()


@pytest.mark.parametrize(
    ("target", "instance"),
    [
        ("/fibonacci/5%0A%3C%C3%A9", "/fibonacci/5%0A%3C%C3%A9"),
        ("/fibonacci/%zz%ff", "/fibonacci/%25zz%EF%BF%BD"),
        ("/pow/1%2F0/2", "/pow/1%2F0/2"),
        ("/pow/1%2f0/2?mod=7", "/pow/1%2F0/2"),
        ("/pow/1%2F2", "/pow/1%2F2"),
        ("/users/a%2Fb", "/users/a%2Fb"),
        ("/%2Fevil.example/", "/%2Fevil.example/"),
    ],
)
def test_instance_is_the_path_as_a_uri_reference(server: Server, person: Person, target: str, instance: str) -> None:
    """``instance`` is the request's path, escaped as RFC 3986 requires; an escaped slash separates no segments."""
    assert exchange(server.port, "GET", target, person.headers).json()["instance"] == instance


def test_bytes_that_are_not_http_are_refused_before_the_application(server: Server, person: Person) -> None:
    """A raw byte 0xFF in a target gets 400 from the HTTP parser, and the service still works (RFC 9112 §3.2)."""
    assert exchange(server.port, "GET", b"/fibonacci/\xff", person.headers).status == 400
    assert exchange(server.port, "GET", "/healthz").status == 200


def test_password_counts_to_its_last_byte(server: Server) -> None:
    """A password of 73 bytes logs in; its first 72 bytes, which are all that bcrypt reads, are refused."""
    name, password = new_name(), "p" * 72 + "!"
    with httpx.Client(base_url=server.url) as client:
        assert client.post("/register", json=registration(name, password=password)).status_code == 201
        assert client.post("/login", json={"username": name, "password": password}).status_code == 200
        assert client.post("/login", json={"username": name, "password": password[:72]}).status_code == 401


def test_registration_refused_leaves_no_account(server: Server) -> None:
    """If a registration fails because of its email address, the username stays free."""
    name = new_name()
    with httpx.Client(base_url=server.url) as client:
        assert client.post("/register", json=registration(name, email="nowhere")).status_code == 422
        assert client.post("/login", json={"username": name, "password": PASSWORD}).status_code == 401
        assert client.post("/register", json=registration(name)).status_code == 201


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/fibonacci/10"])
def test_answers_carry_security_headers(server: Server, person: Person, path: str) -> None:
    """Successful responses have the header fields against sniffing, framing and referrer leaks."""
    reply = exchange(server.port, "GET", path, person.headers)
    assert reply.status == 200
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    assert len(reply.headers.get_all("Content-Security-Policy", [])) == 1
    assert "frame-ancestors 'none'" in reply.headers["Content-Security-Policy"]
