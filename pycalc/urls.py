"""URLs in settings: parsing, and the backend of each scheme. Messages quote nothing that may be part of a password."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

_SCHEME = re.compile(r"([a-z][a-z0-9+]*):")
_SERVER = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[\w.%-]*)(?::(?P<port>[0-9]{1,5}))?")


@contextmanager
def backend_of(url: str, kind: str, backends: Mapping[str, str]) -> Iterator[Any]:
    """Return a context with the backend class of a URL's scheme. ``backends`` maps schemes to ``module:class``.

    Raises ValueError for an unknown scheme. Its message, and that of any ValueError in the context, begins with the
    name of the setting: PYCALC_CACHE_URL for the ``kind`` "cache".
    """
    found = _SCHEME.match(url)
    scheme = found[1] if found else ""
    try:
        if scheme not in backends:
            raise ValueError(f"there is no {kind} for {scheme!r}; known: {', '.join(backends)}")
        module, _, name = backends[scheme].partition(":")
        yield getattr(import_module(module), name)
    except ValueError as error:
        raise ValueError(f"PYCALC_{kind.upper()}_URL: {error}") from None


def file_of(url: str) -> Path:
    """Return the file at a URL ``sqlite:///PATH``, with symbolic links followed; raises ValueError for another form."""
    path = url.removeprefix("sqlite:///")
    if not path or path == url or "?" in path or "#" in path:
        raise ValueError("it is not of the form sqlite:///PATH, without options and without ? and # in it")
    return Path(os.path.realpath(path))


def split_url(url: str) -> SplitResult:
    """Return the components of a URL; raises ValueError for an invalid one.

    A fragment, or a second @, shows that an unescaped character has moved a part of the password elsewhere.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(
            "it is not a valid URL; percent-encode brackets and special characters in the user's name and the password"
        ) from None  # the message of urlsplit may quote the password
    login = parts.netloc.rpartition("@")[0]
    if parts.fragment or any("@" in part for part in (login, parts.path, parts.query)):
        raise ValueError(
            "@, /, ? and # in the user's name or the password are written %40, %2F, %3F and %23, and @ in an option %40"
        )
    return parts


def is_secure(url: str) -> bool:
    """Return whether a URL may receive secrets: of https, or of http on this machine, without login and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    return (parts.scheme == "https" or local) and bool(parts.hostname) and "@" not in parts.netloc and "#" not in url


def authority(host: str, port: int) -> str:
    """Return ``host:port`` as written in URLs, with an IPv6 address in brackets (RFC 3986 §3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def url_options(url: str, known: Collection[str]) -> dict[str, str]:
    """Return the options in a URL's query. Raises ValueError for an unknown, empty or repeated one, or a bad URL."""
    options: dict[str, str] = {}
    for name, value in parse_qsl(split_url(url).query, keep_blank_values=True):
        if name not in known:
            raise ValueError(f"it has an unknown option; known: {', '.join(sorted(known))}")
        if name in options:
            raise ValueError(f"the option {name!r} is given more than once; give it once")
        if not value:
            raise ValueError(f"the option {name!r} has no value; give it one or leave it out")
        options[name] = value
    return options


def require_server(text: str) -> tuple[str, int | None]:
    """Return the host (may be empty) and the port (or None) in ``host:port``. Raises ValueError for other texts."""
    found = _SERVER.fullmatch(text)
    if found is None or (found["port"] and not 0 < int(found["port"]) <= 65_535):
        raise ValueError(
            "the port must be a number from 1 to 65535; write @ and the host after the user's name and password, and "
            "percent-encode /, ? and # in these as %2F, %3F and %23"
        )
    return found["host"], int(found["port"]) if found["port"] else None


def whole_option(options: dict[str, str], name: str, default: int, least: int, most: int = 10**15 - 1) -> int:
    """Return the number, from ``least`` to ``most``, in an option, or ``default``. Raises ValueError for others."""
    text = options.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 16 and least <= int(text) <= most):
        raise ValueError(f"{name} must be a whole number from {least} to {most}")
    return int(text)


def flag_option(options: dict[str, str], name: str) -> bool:
    """Return whether an option is "true" or missing; raises ValueError for values other than "true" and "false"."""
    text = options.get(name, "true")
    if text not in ("true", "false"):
        raise ValueError(f"{name} must be true or false")
    return text == "true"
