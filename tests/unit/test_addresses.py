"""Client addresses: forwarded addresses count only if a trusted proxy reports them, and no header raises an error."""

from __future__ import annotations

import pytest

from pycalc.services.limits.client_address import ClientAddresses

PROXIES = ("10.0.0.0/8", "2001:db8:ffff::1", "192.0.2.250")
CLIENT, OTHER = "198.51.100.7", "203.0.113.9"


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        (None, [], "unknown"),
        ("", [], "unknown"),
        ("/run/pycalc.sock", [b"198.51.100.7"], "unknown"),
        (CLIENT, [], CLIENT),
        (CLIENT, [b"203.0.113.9"], CLIENT),
        ("10.1.2.3", [], "10.1.2.3"),
        ("10.1.2.3", [b"198.51.100.7"], CLIENT),
        ("10.1.2.3", [b"203.0.113.9, 198.51.100.7"], CLIENT),
        ("10.1.2.3", [b"203.0.113.9", b"198.51.100.7"], CLIENT),
        ("10.1.2.3", [b"203.0.113.9, 198.51.100.7, 10.9.9.9 ,192.0.2.250"], CLIENT),
        ("10.1.2.3", [b"10.0.0.1, 10.0.0.2"], "10.0.0.1"),
        ("10.1.2.3", [b"198.51.100.7:4711"], CLIENT),
        ("10.1.2.3", [b"[2001:db8:1:2:3::4]:4711"], "2001:db8:1:2::/64"),
        ("2001:db8:ffff::1", [b"2001:db8:1:2::5"], "2001:db8:1:2::/64"),
        ("2001:db8:1:2::5", [b"198.51.100.7"], "2001:db8:1:2::/64"),
        ("fe80::1%eth0", [], "fe80::/64"),
        ("::ffff:198.51.100.7", [], CLIENT),
        ("::ffff:10.1.2.3", [b"198.51.100.7"], CLIENT),
        ("10.1.2.3", [b"198.51.100.7, garbage"], "10.1.2.3"),
        ("10.1.2.3", [b"garbage, 198.51.100.7"], CLIENT),
        ("10.1.2.3", [b"198.51.100.7,"], "10.1.2.3"),
        ("10.1.2.3", [b""], "10.1.2.3"),
        ("10.1.2.3", [b"\xff\x00\xfe"], "10.1.2.3"),
        ("10.1.2.3", [b"["], "10.1.2.3"),
        ("10.1.2.3", [b"]:80"], "10.1.2.3"),
        ("10.1.2.3", [b"999.1.1.1"], "10.1.2.3"),
        ("10.1.2.3", [b"010.0.0.1"], "10.1.2.3"),
        ("10.1.2.3", [b"3325256711"], "10.1.2.3"),
        ("10.1.2.3", [b"10.0.0.0/8"], "10.1.2.3"),
        ("10.1.2.3", [b"fe80::1%" + b"x" * 9000], "fe80::/64"),
        ("10.1.2.3", [b"," * 9000], "10.1.2.3"),
    ],
)
def test_the_right_most_untrusted_address_is_the_clients(
    peer: str | None, forwarded: list[bytes], expected: str
) -> None:
    """The client's address is the right-most one that is not a trusted proxy's; a malformed entry ends the search."""
    assert ClientAddresses(PROXIES).client(peer, forwarded) == expected


def test_no_proxy_is_trusted_by_default() -> None:
    """Without a list of trusted proxies, X-Forwarded-For is ignored."""
    assert ClientAddresses().client("127.0.0.1", [OTHER.encode()]) == "127.0.0.1"


def test_what_is_no_network_is_refused() -> None:
    """If a trusted proxy is given as neither an IP address nor a network, ValueError is raised."""
    with pytest.raises(ValueError, match=r"proxy\.internal"):
        ClientAddresses(["proxy.internal"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "https"),
    [
        ("10.1.2.3", [b"https"], True),
        ("10.1.2.3", [b" HTTPS , http"], True),
        ("10.1.2.3", [b"https", b"http"], True),
        ("10.1.2.3", [b"http, https"], False),
        ("10.1.2.3", [b"http"], False),
        ("10.1.2.3", [b"\xffhttps"], False),
        ("10.1.2.3", [], False),
        (CLIENT, [b"https"], False),
        (None, [b"https"], False),
    ],
)
def test_https_is_what_a_trusted_proxy_says(peer: str | None, forwarded: list[bytes], https: bool) -> None:
    """X-Forwarded-Proto is read only if a trusted proxy sends it, and only its first entry counts."""
    addresses = ClientAddresses(PROXIES)
    assert addresses.proxied
    assert addresses.by_https(peer, forwarded) is https
    assert not ClientAddresses().proxied
    assert not ClientAddresses().by_https(peer, forwarded)
