"""Client IP addresses: parse them, and the key under which limits count them."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_IPV6_CLIENT_PREFIX_BITS = 64
"""One IPv6 subscriber controls a whole /64, so single addresses are not a limit."""


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the IP address in `text`, or None.

    A port is ignored (`203.0.113.5:4711`, `[2001:db8::9]:443`). An IPv4-mapped IPv6 address becomes
    IPv4.
    """
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def rate_limit_key(text: str) -> str:
    """Return the canonical address of an IPv4 client, or the /64 network of an IPv6 client.

    A text that is no address is returned as it is.
    """
    address = parse_address(text)
    if address is None:
        return text
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address), _IPV6_CLIENT_PREFIX_BITS), strict=False))
