"""Client addresses and the key under which limits count them."""

import pytest

from coach_common.addresses import rate_limit_key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("203.0.113.5:4711", "203.0.113.5"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2:FFFF::9", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_rate_limit_key_is_canonical_and_groups_ipv6_by_64(text: str, key: str) -> None:
    assert rate_limit_key(text) == key
