"""Clients' IP addresses. An address in X-Forwarded-For is used only if a trusted proxy sent it (ADR 12)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from pycalc.observability.requests import current

UNKNOWN = "unknown"  # clients without an address are counted as one client


class ClientAddresses:
    """A finder of clients' addresses. For clients behind trusted proxies, it reads X-Forwarded-For."""

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        """Trust the proxies at these IP addresses and in these CIDR networks; raises ValueError for other texts."""
        self._trusted = tuple(ip_network(network, strict=False) for network in trusted)
        self.proxied = bool(self._trusted)

    def current(self) -> str | None:
        """Return the address of the client whose request is being handled, or None outside of requests."""
        scope = current.get()
        return None if scope is None else self.of(scope)

    def of(self, scope: Mapping[str, Any]) -> str:
        """Return the address of the client that sent the request with this ASGI scope, as ``self.client`` does."""
        peer = scope.get("client")
        forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        return self.client(peer[0] if peer else None, forwarded)

    def client(self, peer: str | None, forwarded: Iterable[bytes]) -> str:
        """Return the client's IPv4 address or IPv6 /64 network, or UNKNOWN if ``peer`` is None or malformed.

        ``peer`` is the address at the other end of the connection; ``forwarded`` are the values of X-Forwarded-For.
        Of ``peer``, and then the forwarded addresses from right to left, the first that is not a trusted proxy is the
        client's. If an address is malformed, the proxy that sent it counts as the client. If all addresses are trusted
        proxies, the leftmost one is returned.
        """
        nearest = _parsed(peer or "")
        if nearest is None:
            return UNKNOWN
        if self._trusted:
            # A list may span several header lines (RFC 9110 §5.3).
            for text in reversed(b",".join(forwarded).decode("latin-1").split(",")):
                further = _parsed(text.strip()) if self._is_trusted(nearest) else None
                if further is None:
                    break
                nearest = further
        # A client can use any address of its IPv6 /64, so the whole /64 counts as one client.
        return str(nearest if isinstance(nearest, IPv4Address) else ip_network((nearest, 64), strict=False))

    def is_proxy(self, peer: str) -> bool:
        """Return whether ``peer``, the address at the other end of a connection, is a trusted proxy."""
        return self._is_trusted(_parsed(peer))

    def by_https(self, peer: str | None, forwarded: Iterable[bytes]) -> bool:
        """Return whether ``peer`` is a trusted proxy that reports that the client used https.

        ``forwarded`` are the values of X-Forwarded-Proto, of which the first member describes the client's connection.
        """
        return self.is_proxy(peer or "") and b",".join(forwarded).partition(b",")[0].strip().lower() == b"https"

    def _is_trusted(self, address: IPv4Address | IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address with an optional port (``192.0.2.1:80``, ``[2001:db8::1]:80``); return None for other texts."""
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
    return address.ipv4_mapped or IPv6Address(int(address))  # without the zone, which is valid on its own host only
