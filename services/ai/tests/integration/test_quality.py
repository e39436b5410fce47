"""The quality card over HTTP."""

from coach_ai import quality
from coach_common.service import Service
from coach_common.testing.harness import client_for


async def test_anybody_may_read_how_good_the_judge_is(service: Service) -> None:
    async with client_for(service) as nobody:
        answer = await nobody.get("/quality")

    assert answer.status_code == 200
    assert answer.json() == quality.load_report()
    assert answer.json()["human_agreement"] == "not measured"
