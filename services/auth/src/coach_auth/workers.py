"""What auth does on its own: rotating signing keys, forgetting logins that ended long ago."""

import asyncio
from contextlib import suppress

from coach_auth.deps import Deps
from coach_auth.use_cases import logins, signing_keys
from coach_common.errors import Unavailable

_PURGE_INTERVAL_SECONDS = 600.0


async def purge_expired_logins(deps: Deps) -> None:
    """Purge every ten minutes."""
    while True:
        with suppress(Unavailable):
            await logins.purge(deps)
        await asyncio.sleep(_PURGE_INTERVAL_SECONDS)


async def rotate_keys(deps: Deps) -> None:
    """Take what step is due for the signing keys, for ever; replicas may all do this."""
    while True:
        with suppress(Unavailable):
            await signing_keys.rotate_keys(deps)
        await asyncio.sleep(deps.key_policy.poll_seconds)
