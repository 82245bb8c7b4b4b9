"""PostgreSQL's URL: mistakes are named without showing the password, and so is the place that it leads to."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

_FORM = "postgresql://user:password@host:port/name"
_PORT = re.compile(r":(\d*[^\d\]]*\d*)$")
_DEFAULT_PORT = 5432
_LAST_PORT = 65_535


def place_of(url: str) -> str:
    """Return host, port and database of a URL, for people; raises ValueError with a sentence for one that is none.

    There may be several hosts, with commas between them, or a socket's folder as the option ``host``.
    """
    parts, options = urlsplit(url), parse_qs(urlsplit(url).query)
    user, _, hosts = parts.netloc.rpartition("@")
    if "@" in user or "@" in parts.path or parts.fragment:
        raise ValueError(
            f"@, /, ? and # in the user's name or the password are written %40, %2F, %3F and %23; the form is {_FORM}"
        )
    name = parts.path.strip("/") or next(iter(options.get("dbname", options.get("database", []))), "")
    if not name:
        raise ValueError(f"it names no database; the form is {_FORM}")
    places = [_with_port(host) for host in hosts.split(",")] if hosts else options.get("host", ["localhost"])
    return f"{','.join(places)}/{name}"


def _with_port(host: str) -> str:
    """Return a host with its port; raises ValueError for a port that is none."""
    found = _PORT.search(host)
    if found is None:
        return f"{host}:{_DEFAULT_PORT}"
    if not (found[1].isdecimal() and 0 < int(found[1]) <= _LAST_PORT):
        raise ValueError(f"the port is a number from 1 to {_LAST_PORT}, not {found[1]!r}")
    return host
