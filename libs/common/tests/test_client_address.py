"""Client addresses: canonical form, groups that share a limit, trusted proxies."""

import pytest

from coach_common.client_address import TrustedProxies, group_address


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2:ffff::c", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_address_is_limited_with_its_ipv6_network(address: str, group: str) -> None:
    assert group_address(address) == group


@pytest.mark.parametrize(
    ("forwarded_for", "client"),
    [
        ("203.0.113.5:4711", "203.0.113.5"),
        ("[2001:DB8:0:0::9]:443", "2001:db8::9"),
        ("2001:DB8:0:0::9", "2001:db8::9"),
        ("[2001:db8::9]", "2001:db8::9"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("6.6.6.6, 203.0.113.5:1, 10.0.0.7:80", "203.0.113.5"),
        ("nonsense", "10.0.0.1"),
        ("", "10.0.0.1"),
        (None, "10.0.0.1"),
    ],
)
def test_forwarded_address_is_canonical_and_without_port(
    forwarded_for: str | None, client: str
) -> None:
    assert TrustedProxies(["10.0.0.0/8"]).client_address("10.0.0.1", forwarded_for) == client


def test_peer_is_canonical_without_trusted_proxies() -> None:
    proxies = TrustedProxies([])

    assert proxies.client_address("2001:DB8::1", "6.6.6.6") == "2001:db8::1"
    assert not proxies.is_trusted("10.0.0.1")
    assert TrustedProxies(["10.0.0.0/8"]).is_trusted("10.2.3.4")
