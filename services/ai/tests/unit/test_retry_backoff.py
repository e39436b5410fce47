"""The backoff of jobs whose provider was unavailable."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from coach_ai.domain import Job, JobKind

ZERO_ID = UUID(int=0)
JOB = Job(
    ZERO_ID,
    JobKind.FEEDBACK,
    ZERO_ID,
    ZERO_ID,
    datetime(2026, 11, 24, tzinfo=UTC),
    ZERO_ID,
    1,
    0,
    0.0,
    None,
)


@pytest.mark.parametrize(("tries", "seconds"), [(0, 2), (1, 4), (5, 64), (9, 900), (60, 900)])
def test_backoff_doubles_up_to_15_minutes(tries: int, seconds: int) -> None:
    assert replace(JOB, tries=tries).backoff(0.0).total_seconds() == seconds


@pytest.mark.parametrize("tries", [0, 5, 60])
def test_backoff_jitter_spreads_retries(tries: int) -> None:
    job = replace(JOB, tries=tries)
    longest = job.backoff(0.0)

    pauses = [job.backoff(chance / 10) for chance in range(11)]

    assert len(set(pauses)) == 11
    assert all(0.75 * longest <= pause <= longest for pause in pauses)
