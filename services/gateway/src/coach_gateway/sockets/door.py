"""What every socket shares."""

from collections import Counter
from dataclasses import dataclass

from coach_common.clock import Clock
from coach_gateway.access import Access
from coach_gateway.config import GatewaySettings
from coach_gateway.hub import Hub
from coach_gateway.limits import RateLimits
from coach_gateway.proxy import Proxy


@dataclass(frozen=True, slots=True)
class Door:
    """The parts of a gateway that a socket needs."""

    settings: GatewaySettings
    access: Access
    proxy: Proxy
    hub: Hub
    limits: RateLimits
    clock: Clock
    waiting: Counter[str]
    """Sockets that have not authenticated yet, by address."""
