"""The revocation list: paging, readiness, failing closed."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from coach_common.clock import utc_now
from coach_common.errors import Unauthenticated, Unavailable
from coach_common.ids import new_id
from coach_gateway.access import RevocationList

PAGE = 1000


class StubAuth:
    """Serves revocations in pages of 1,000, as auth does."""

    def __init__(self, login_ids: list[UUID], *, has_more: bool) -> None:
        self.login_ids = login_ids
        self.requests = 0
        self._has_more = has_more

    async def fetch(self, path: str) -> dict[str, Any]:
        self.requests += 1
        start = int(path.partition("after=")[2] or 0)
        rows = self.login_ids[start : start + PAGE]
        until = (utc_now() + timedelta(hours=1)).isoformat()
        page: dict[str, Any] = {
            "cursor": str(start + len(rows)),
            "revoked": [{"login_id": str(one), "expires_at": until} for one in rows],
        }
        if self._has_more:
            page["has_more"] = start + len(rows) < len(self.login_ids)
        return page


@pytest.mark.parametrize("has_more", [True, False])
async def test_one_poll_reads_all_pages(has_more: bool) -> None:
    auth = StubAuth([new_id() for _ in range(3 * PAGE)], has_more=has_more)
    revocations = RevocationList(auth.fetch, utc_now)

    await revocations.poll_once()

    assert auth.requests == (3 if has_more else 4)
    await revocations.check_health()
    for login_id in (auth.login_ids[0], auth.login_ids[-1]):
        with pytest.raises(Unauthenticated):
            revocations.ensure_active(login_id)


async def test_list_is_not_ready_before_the_last_page() -> None:
    auth = StubAuth([new_id() for _ in range(2 * PAGE)], has_more=True)
    states: list[bool] = []

    async def fetch(path: str) -> dict[str, Any]:
        try:
            await revocations.check_health()
            states.append(True)
        except Unavailable:
            states.append(False)
        return await auth.fetch(path)

    revocations = RevocationList(fetch, utc_now)
    await revocations.poll_once()

    assert states == [False, False]
    with pytest.raises(Unauthenticated):
        revocations.ensure_active(auth.login_ids[-1])
    revocations.ensure_active(new_id())


async def test_failed_second_page_leaves_the_list_unavailable() -> None:
    auth = StubAuth([new_id() for _ in range(2 * PAGE)], has_more=True)

    async def fetch(path: str) -> dict[str, Any]:
        if auth.requests == 1:
            raise Unavailable("auth is down")
        return await auth.fetch(path)

    revocations = RevocationList(fetch, utc_now)
    with pytest.raises(Unavailable):
        await revocations.poll_once()

    with pytest.raises(Unavailable):
        revocations.ensure_active(new_id())


async def test_full_page_without_news_ends_the_poll() -> None:
    """An auth that repeats the revocations of the last seconds may repeat a full page."""
    rows = [new_id() for _ in range(PAGE)]
    until = (utc_now() + timedelta(hours=1)).isoformat()
    requests = 0

    async def fetch(path: str) -> dict[str, Any]:
        nonlocal requests
        requests += 1
        revoked = [{"login_id": str(one), "expires_at": until} for one in rows]
        return {"cursor": "same", "revoked": revoked}

    revocations = RevocationList(fetch, utc_now)
    await revocations.poll_once()

    assert requests == 2
    await revocations.check_health()
