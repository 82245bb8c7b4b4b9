"""PostgreSQL's URL: mistakes are named without showing the password, and so is the place that it leads to."""

from __future__ import annotations

from urllib.parse import parse_qs

from pycalc.urls import require_server, split_url

_FORM = "postgresql://user:password@host:port/name"
_DEFAULT_PORT = 5432


def place_of(url: str) -> str:
    """Return host, port and database of a URL, for people; raises ValueError with a sentence for one that is none.

    There may be several hosts, with commas between them, or a socket's folder as the option ``host``.
    """
    try:
        parts = split_url(url)
        hosts = parts.netloc.rpartition("@")[2]
        servers = [require_server(host) for host in hosts.split(",")] if hosts else []
    except ValueError as error:
        raise ValueError(f"{error}; the form is {_FORM}") from None
    options = parse_qs(parts.query)
    name = parts.path.strip("/") or next(iter(options.get("dbname", options.get("database", []))), "")
    if not name:
        raise ValueError(f"it names no database; the form is {_FORM}")
    places = [f"{host}:{port or _DEFAULT_PORT}" for host, port in servers] or options.get("host", ["localhost"])
    return f"{','.join(places)}/{name}"
