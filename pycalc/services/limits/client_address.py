"""Addresses of clients; a forwarded address counts only when a trusted proxy sent it (ADR 12)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

UNKNOWN = "unknown"  # all clients without an address are one client

_SITE_BITS = 64  # a site gets a whole IPv6 network of 64 bits, so the network identifies the client


def address(host: str, port: int) -> str:
    """Return host and port in a URL's form, with an IPv6 address in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class ClientAddresses:
    """A finder of clients' addresses behind trusted proxies."""

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        """``trusted``: addresses and CIDR networks of proxies; raises ValueError for anything else."""
        self._trusted = tuple(ip_network(network, strict=False) for network in trusted)
        self.proxied = bool(self._trusted)

    def client(self, peer: str | None, forwarded: Iterable[bytes]) -> str:
        """Return the client's address, for IPv6 its network of 64 bits; malformed addresses raise nothing.

        ``peer`` is the other end of the connection, ``forwarded`` the values of X-Forwarded-For in their order. They
        are read from the right until an address is malformed or no trusted proxy.
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
        return _client_name(nearest)

    def is_proxy(self, peer: str) -> bool:
        """Return whether the other end of a connection is a trusted proxy."""
        parsed = _parsed(peer)
        return parsed is not None and self._is_trusted(parsed)

    def by_https(self, peer: str | None, forwarded: Iterable[bytes]) -> bool:
        """Return whether a trusted proxy says that the client used https; ``forwarded``: X-Forwarded-Proto's values.

        The first member counts, which is the client's own hop. A client that forges it misleads only itself.
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
    """Parse an address with an optional port (``192.0.2.1:80``, ``[2001:db8::1]:80``); None for anything else."""
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
    return address.ipv4_mapped or IPv6Address(int(address))  # without a scope, which has a meaning on its host only


def _client_name(address: IPv4Address | IPv6Address) -> str:
    return str(address) if isinstance(address, IPv4Address) else str(ip_network((address, _SITE_BITS), strict=False))
