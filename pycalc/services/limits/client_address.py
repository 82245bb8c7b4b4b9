"""Whose request it is, as far as the network tells: forwarded addresses count only from trusted proxies (ADR 12)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

UNKNOWN = "unknown"
"""The address of a client that has none: all of these are one client."""

_SITE_BITS = 64
"""A site gets an IPv6 network of this many bits, at least, so one host has 2^64 addresses to choose from."""


def address(host: str, port: int) -> str:
    """Return host and port as a URL has them: an IPv6 address in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class ClientAddresses:
    """Tells clients apart by their addresses."""

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        """``trusted``: addresses and CIDR networks of proxies; raises ValueError for what is neither."""
        self._trusted = tuple(ip_network(network, strict=False) for network in trusted)
        self.proxied = bool(self._trusted)
        """Whether there are any such proxies."""

    def client(self, peer: str | None, forwarded: Iterable[bytes]) -> str:
        """Return the client's address, for IPv6 its network of 64 bits; whatever stands there, nothing is raised.

        ``peer`` is the other end of the connection, ``forwarded`` the values of X-Forwarded-For in their order. They
        are read from the right for as long as the address before them is a trusted proxy; a malformed one ends that.
        """
        nearest = _parsed(peer or "")
        if nearest is None:
            return UNKNOWN
        if self._trusted:
            for text in _from_the_right(forwarded):
                further = _parsed(text) if self._is_trusted(nearest) else None
                if further is None:
                    break
                nearest = further
        return _told(nearest)

    def is_proxy(self, peer: str) -> bool:
        """Return whether the other end of a connection is a trusted proxy, behind which there are many clients."""
        parsed = _parsed(peer)
        return parsed is not None and self._is_trusted(parsed)

    def by_https(self, peer: str | None, forwarded: Iterable[bytes]) -> bool:
        """Return whether a trusted proxy says that the client came by https; ``forwarded``: X-Forwarded-Proto's values.

        The first member counts, which is the client's own hop. Where proxies pass on what a client made up, the lie is
        told to the liar alone.
        """
        nearest = _parsed(peer or "")
        if nearest is None or not self._is_trusted(nearest):
            return False
        return b",".join(forwarded).partition(b",")[0].strip().lower() == b"https"

    def _is_trusted(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._trusted)


def _from_the_right(values: Iterable[bytes]) -> Iterator[str]:
    """Yield the members of a list that several fields may hold (RFC 9110 §5.3), the last one first."""
    for value in reversed(list(values)):
        for member in reversed(value.decode("latin-1").split(",")):
            yield member.strip()


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address, which may have a port (``192.0.2.1:80``, ``[2001:db8::1]:80``); None for anything else."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))  # a scope, if any, is the host's own affair


def _told(address: IPv4Address | IPv6Address) -> str:
    return str(address) if isinstance(address, IPv4Address) else str(ip_network((address, _SITE_BITS), strict=False))
