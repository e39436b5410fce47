"""Entry points: `python -m coach_auth serve | migrate | keys …` and `coach users …`."""

import sys

from coach_auth import admin_cli
from coach_auth.app import build
from coach_auth.config import AuthSettings, DistributedAuthSettings
from coach_common.cli import admin_command, service_command

keys = admin_command("auth keys", AuthSettings, build, admin_cli.KEY_SUBCOMMANDS)
users = admin_command("users", AuthSettings, build, admin_cli.USER_SUBCOMMANDS)
main = service_command(
    "auth", DistributedAuthSettings, build, has_tables=True, extra_commands={"keys": keys}
)

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
