"""Client addresses: canonical form, trusted proxies and the group that shares a limit."""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

_IPV6_PREFIX_BITS = 64
"""One customer has at least a /64, so single addresses bound nothing (RFC 6177)."""


@lru_cache(maxsize=4096)
def group_address(address: str) -> str:
    """Return the key under which a client address is limited.

    IPv4 addresses count alone, IPv6 addresses by their /64, IPv4-mapped ones as IPv4. Other text
    is returned unchanged.
    """
    parsed = _parse(address)
    if parsed is None:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, _IPV6_PREFIX_BITS), strict=False))
    return str(parsed)


class TrustedProxies:
    """Networks whose X-Forwarded-For is used."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def is_trusted(self, address: str) -> bool:
        """Return whether an address belongs to a trusted proxy."""
        parsed = _parse(address) if self._networks else None
        return parsed is not None and any(parsed in network for network in self._networks)

    def client_address(self, peer: str, forwarded_for: str | None) -> str:
        """Return the right-most address that is not a trusted proxy, in canonical form."""
        if self.is_trusted(peer):
            for part in reversed((forwarded_for or "").split(",")):
                entry = part.strip()
                if entry and not self.is_trusted(entry):
                    return _canonical(entry) or peer
        return _canonical(peer) or peer


@lru_cache(maxsize=4096)
def _canonical(text: str) -> str:
    """Return an address in canonical form, "" if the text is none."""
    parsed = _parse(text)
    return "" if parsed is None else str(parsed)


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Parse an address, with or without a port. IPv4-mapped addresses become IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed
