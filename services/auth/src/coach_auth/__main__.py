"""Entry points: `python -m coach_auth serve | migrate | keys …` and `coach users …`."""

from coach_auth import admin_cli
from coach_auth.app import build
from coach_auth.config import AuthSettings, DistributedAuthSettings
from coach_common.cli import admin_command, service_command

keys = admin_command(
    "auth keys",
    "auth",
    AuthSettings,
    build,
    admin_cli.KEY_SUBCOMMANDS,
    summary="List, rotate and revoke the keys that sign access tokens.",
    example="rotate",
)
users = admin_command(
    "users",
    "auth",
    AuthSettings,
    build,
    admin_cli.USER_SUBCOMMANDS,
    summary="Create, show, disable and enable accounts, and reset passwords.",
    example="disable alice@example.com",
)
main = service_command(
    "auth",
    DistributedAuthSettings,
    build,
    summary="Run the auth service, migrate its database, and administer its signing keys.",
    has_tables=True,
    extra_commands={"keys": keys},
)

if __name__ == "__main__":
    raise SystemExit(main())
