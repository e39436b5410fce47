"""What auth does on its own: forgetting logins that ended long ago."""

import asyncio
from contextlib import suppress

from coach_auth import use_cases
from coach_auth.deps import Deps
from coach_common.errors import Unavailable

_PURGE_SECONDS = 600.0


async def purge(deps: Deps) -> None:
    """Purge every ten minutes."""
    while True:
        with suppress(Unavailable):
            await use_cases.purge(deps)
        await asyncio.sleep(_PURGE_SECONDS)
