"""What the profile is used for: its index, its match with the job, and interviews."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import numpy as np

from coach_ai.deps import Deps
from coach_ai.domain import Profile
from coach_ai.interview.model import InterviewPlan, InterviewSetup, ProfileExcerpt
from coach_ai.profile.index import ProfileIndex, build_index, digest_texts, encode
from coach_ai.profile.matching import RequirementMatch, match_requirements, split_requirements
from coach_ai.profile.passages import Passage, Source, split_passages
from coach_ai.profile.quoting import (
    choose_quote,
    choose_similar_quote,
    list_quotable,
    make_excerpt,
)
from coach_ai.profile.similarity import TextEncoder
from coach_ai.store import profile_indexes, profiles
from coach_common.errors import Conflict, Unavailable
from coach_common.identity import Identity

MAX_COMPARED_ANSWERS = 15
"""Of sessions, and as many turns of interviews. The newest ones are compared."""
MAX_SENTENCES_PER_ANSWER = 12


class JobDescriptionMissing(Conflict):
    """The profile has no job description."""

    code = "job_description_missing"

    def __init__(self) -> None:
        super().__init__("Your profile has no job description. Add one first.")


class EmbeddingsUnavailable(Unavailable):
    """No sentence embeddings are installed."""

    code = "embeddings_unavailable"

    def __init__(self) -> None:
        super().__init__("Texts cannot be compared on this server: it has no embeddings.")


@dataclass(frozen=True, slots=True)
class JobMatch:
    """The requirements of the job, and how many answers were compared with them."""

    requirements: list[RequirementMatch]
    answer_count: int


@dataclass(frozen=True, slots=True)
class ProfileContext:
    """A profile and its index, which is None unless it is of the same texts."""

    profile: Profile
    index: ProfileIndex | None

    @property
    def words(self) -> str:
        """The texts whose words choose questions."""
        profile = self.profile
        return " ".join(
            (profile.target_role, profile.job_title, *profile.skills, profile.job_description)
        )


async def index_profile(deps: Deps, caller: Identity) -> ProfileIndex:
    """Compute and store the index of the caller's profile. A repeated call changes nothing.

    Raises:
        ProfileNotFound: If the caller has no profile.
        EmbeddingsUnavailable: If the server has no embeddings.
    """
    encoder = get_encoder(deps)
    async with deps.db.read_only() as tx:
        profile = (await profiles.get_profile(tx, caller.user_id)).profile
        digest = digest_texts(profile)
        index = await profile_indexes.find_index(tx, caller.user_id, digest=digest)
    if index is not None:
        return index
    index = await asyncio.to_thread(build_index, profile, encoder)
    async with deps.db.transaction() as tx:
        # Not stored if the texts were replaced or deleted meanwhile.
        stored = await profiles.get_profile(tx, caller.user_id, is_locked=True)
        if digest_texts(stored.profile) == index.digest:
            await profile_indexes.save_index(tx, caller.user_id, index, at=deps.clock())
    return index


async def match_job(deps: Deps, caller: Identity) -> JobMatch:
    """Return which requirements of the job the caller's résumé and answers show.

    Raises:
        ProfileNotFound: If the caller has no profile.
        JobDescriptionMissing: If it has no job description.
        EmbeddingsUnavailable: If the server has no embeddings.
    """
    index = await index_profile(deps, caller)
    async with deps.db.read_only() as tx:
        profile = (await profiles.get_profile(tx, caller.user_id)).profile
        limit = MAX_COMPARED_ANSWERS
        answers = [
            *await profile_indexes.list_scored_answers(tx, caller.user_id, limit=limit),
            *await profile_indexes.list_interview_answers(tx, caller.user_id, limit=limit),
        ]
    if not profile.job_description:
        raise JobDescriptionMissing
    matches = await asyncio.to_thread(
        _match, profile.job_description, index, answers, get_encoder(deps)
    )
    return JobMatch(matches, len(answers))


async def load_context(deps: Deps, user_id: UUID) -> ProfileContext | None:
    """Return what an interview uses of the user's profile, or None without a profile."""
    async with deps.db.read_only() as tx:
        profile = await profiles.find_profile(tx, user_id)
        if profile is None:
            return None
        digest = digest_texts(profile)
        return ProfileContext(profile, await profile_indexes.find_index(tx, user_id, digest=digest))


async def add_profile(
    deps: Deps, setup: InterviewSetup, plan: InterviewPlan, context: ProfileContext | None
) -> InterviewSetup:
    """Return the setup with an excerpt of the profile, so that the interview keeps it."""
    if context is None:
        return setup
    profile = context.profile
    title = profile.job_title or make_excerpt(profile.job_description.partition("\n")[0])
    quote = await _choose_quote(deps, context, plan.questions[0].question.text)
    excerpt = ProfileExcerpt(
        target_role=profile.target_role,
        job_title=title,
        job_description=make_excerpt(profile.job_description),
        quote=quote,
    )
    return replace(setup, profile=excerpt)


def get_encoder(deps: Deps) -> TextEncoder:
    """Return the embeddings. Raises EmbeddingsUnavailable if the server has none."""
    encoder = deps.get_encoder()
    if encoder is None:
        raise EmbeddingsUnavailable
    return encoder


async def _choose_quote(deps: Deps, context: ProfileContext, question: str) -> str:
    """Return the sentence of the résumé that is nearest to a question, or ""."""
    encoder = deps.get_encoder()
    if context.index is None or encoder is None:
        return choose_quote(context.profile, question)
    passages, vectors = context.index.select(Source.RESUME)
    quotable = frozenset(list_quotable(context.profile.resume))
    rows = [row for row, one in enumerate(passages) if one.text in quotable]
    if not rows:
        return ""
    (asked,) = await asyncio.to_thread(encoder.encode, [question])
    similarities = [float(value) for value in vectors[rows] @ asked]
    return choose_similar_quote([passages[row].text for row in rows], similarities)


def _match(
    job_description: str,
    index: ProfileIndex,
    answers: Sequence[tuple[UUID, str]],
    encoder: TextEncoder,
) -> list[RequirementMatch]:
    requirements = split_requirements(job_description)
    spoken = [
        Passage(Source.ANSWER, text, session_id)
        for session_id, answer in answers
        for text in split_passages(answer, max_passages=MAX_SENTENCES_PER_ANSWER)
    ]
    written, written_vectors = index.select(Source.RESUME)
    passages = [*written, *spoken]
    if not requirements or not passages:
        return [RequirementMatch(one, None) for one in requirements]
    spoken_vectors = encode(encoder, [one.text for one in spoken])
    parts = [rows for rows in (written_vectors, spoken_vectors) if len(rows)]
    vectors = encoder.encode(requirements)
    return match_requirements(requirements, vectors, passages, np.vstack(parts))
