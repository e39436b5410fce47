"""`python -m coach_gateway serve`."""

import sys

from coach_common.cli import service_command
from coach_gateway.app import build
from coach_gateway.config import DistributedGatewaySettings

main = service_command("gateway", DistributedGatewaySettings, build)

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
