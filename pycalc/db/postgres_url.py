"""Checks of a PostgreSQL URL, with error messages that never show the password."""

from __future__ import annotations

from urllib.parse import parse_qs

from pycalc.files import require_authorities, require_readable
from pycalc.urls import require_server, split_url

_FORM = "postgresql://user:password@host:port/name"
_DEFAULT_PORT = 5432


def location_of(url: str) -> str:
    """Check a URL, and return its hosts, ports and database without credentials.

    Raises ValueError if the URL is malformed, if it names no database, or if a file that it names can't be used.
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
    addresses = [f"{host}:{port or _DEFAULT_PORT}" for host, port in servers] or options.get("host", ["localhost"])
    for option in sorted({"sslrootcert", "sslcert", "sslkey", "sslcrl"} & options.keys()):
        # The driver's own errors do not name the file.
        require = require_authorities if option == "sslrootcert" else require_readable
        require(option, options[option][-1])
    return f"{','.join(addresses)}/{name}"
