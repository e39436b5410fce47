"""`python -m coach_gateway serve`."""

from coach_common.cli import service_command
from coach_gateway.app import build
from coach_gateway.config import DistributedGatewaySettings

main = service_command(
    "gateway",
    DistributedGatewaySettings,
    build,
    summary="Run the gateway, which clients connect to.",
)

if __name__ == "__main__":
    raise SystemExit(main())
