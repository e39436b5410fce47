"""The quality report over HTTP."""

from coach_ai import quality
from coach_common.service import Service
from coach_common.testing.harness import client_for


async def test_quality_report_needs_no_authentication(service: Service) -> None:
    async with client_for(service) as anonymous:
        answer = await anonymous.get("/quality")

    assert answer.status_code == 200
    assert answer.json() == quality.load_report() | {"disputes": {"total": 0, "changed": 0}}
    assert answer.json()["human_agreement"] == "not measured"
