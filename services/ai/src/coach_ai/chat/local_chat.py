"""The interview coach without a language model.

Replies come from the knowledge base, the user's past sessions and the conversation. If nothing
matches, the reply says so.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from coach_ai.chat import knowledge_base
from coach_ai.chat.knowledge_base import Article
from coach_ai.domain import ChatContext, Message, PastSession, extractive_summary, make_title
from coach_ai.embeddings import Embeddings
from coach_ai.token_usage import TokenUsage

_ANOTHER_VIEW = "Another way to look at "
_ASKED, _REPLIED = "User: ", "Coach: "
"""Prefixes of the lines of an extractive summary."""


def _pattern(*parts: str) -> re.Pattern[str]:
    return re.compile("|".join(parts), re.IGNORECASE)


_GREETING = _pattern(r"\W*(hi|hello|hey|good (morning|evening|afternoon))\b[^?]{0,25}")
_THANKS = _pattern(
    r"\W*(many thanks|thanks|thank you|thx|cheers|great|perfect|ok(ay)?)\b[^?]{0,30}"
)
_OFF_SCOPE_TASK = _pattern(
    r"^\W*(please |can you |could you |would you )*"
    r"(translate|compose|sing|draw|convert|act as|repeat|reveal|speak like|do my|cook|book me"
    r"|(pretend|imagine) (you|to be)|(show|give|list) me all)\b",
    r"\b(write|fix|code|solve|debug)\b.{0,40}\b(function|query|poem|essay|song|story|script|rap"
    r"|program|equation|bug|haiku|javascript|python|sql|homework)\b",
    r"\b(ignore|forget|disregard) (all|any|every|everything|your|the|previous|what)\b",
    r"\b(system prompt|your (\w+ )?(rules|instructions|prompt|orders|training)|you are now)\b",
    r"\b(from now on|no restrictions|no rules|jailbreak|developer mode|base64|above this line)\b",
)
_OTHER_USERS_DATA = _pattern(
    r"\b(other|all|every) (users?|people'?s|persons?|accounts?|candidates' )\b.*",
    r"\bdatabase\b",
    r"\b(?!(?:my|what|that|it|how|who|when|today|there|let|one)\b)[a-z]+'s"
    r" (last |past )?(score|session|feedback)s?\b",
    r"\b(score|session|feedback)s? (of|for|from) (?!my|me|this|today)[a-z]+\b",
    r"\bdid (?!i\b)\w+ score\b",
)
_OWN_HISTORY = _pattern(
    r"\bmy (last|past|previous|latest|recent) \w*\s*(sessions?|scores?|feedback|results?"
    r"|answers?|recordings?|attempts?|interviews?)\b",
    r"\bmy (own )?(sessions?|scores?|feedback|progress|weak (points?|spots?|areas?))\b",
    r"\bhow (am|did) i do(ing)?\b",
    r"\bam i (improving|getting better)\b",
    r"\bwhat should i (work on|practi[sc]e|improve)\b",
)
_RECAP = _pattern(
    r"\bwhat (have|did) we (talk|discuss|cover|sp[eo]ak)", r"\bsum.{0,8} up\b", r"\brecap"
)
_EXAMPLE_REQUEST = _pattern(
    r"\b(example|instance|sample|show me|sounds? like|how would (that|it) sound)\b"
)
_DRILL_REQUEST = _pattern(
    r"\b(practi[sc]e|exercises?|drills?|train|rehearse|try (that|it|this)( out)?)\b"
)
_MORE_REQUEST = _pattern(
    r"^\W*((tell|give|say|me|any|some|what|and|is|there|anything|something)\s+)*"
    r"(more|else|go on|continue|elaborate|another)\b"
)
_FOLLOW_UP = _pattern(
    r"\b(that|this|it|those|these|them)\b", r"^\W*(and|but|so|also|then|what if|what about|why)\b"
)


class LocalChat:
    """A Chat without a language model. Deterministic.

    Without embeddings, articles are found by words only. Replies are composed one at a time in a
    thread: several would take the interpreter from everything else in the process.
    """

    def __init__(self, embedder: Embeddings | None = None) -> None:
        self._embedder = embedder
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="local-chat")

    def max_tokens_needed(self, context: ChatContext) -> int:
        """Return 0: no language model is used."""
        return 0

    async def reply(self, context: ChatContext, usage: TokenUsage) -> AsyncGenerator[str, None]:
        """Yield the reply word by word."""
        loop = asyncio.get_running_loop()
        for piece in await loop.run_in_executor(
            self._executor, compose_reply, context, self._embedder
        ):
            yield piece

    async def summarise(
        self, summary: str, messages: Sequence[Message], usage: TokenUsage, *, budget: int
    ) -> str:
        """Return an extractive summary."""
        return extractive_summary(summary, messages, budget=budget)

    async def check(self) -> None:
        """The local chat is always available."""

    async def close(self) -> None:
        """Drop replies that were not started."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def compose_reply(context: ChatContext, embedder: Embeddings | None = None) -> list[str]:
    """Return the reply as words with the white space after them."""
    return re.findall(r"\S+\s*", " ".join(_sentences(context, embedder)))


def _sentences(context: ChatContext, embedder: Embeddings | None) -> Iterator[str]:
    message = context.last_user_message
    topics = _topics(context)
    if _OFF_SCOPE_TASK.search(message) or _OTHER_USERS_DATA.search(message):
        yield _decline(topics)
    elif _GREETING.fullmatch(message):
        yield from _greeting_reply(context.past_sessions)
    elif _RECAP.search(message) and topics:
        yield from _recap_reply(context, topics)
    elif _OWN_HISTORY.search(message):
        yield from _history_reply(context.past_sessions)
    elif topics and _THANKS.fullmatch(message):
        yield f"Good luck with it. Ask for an exercise on “{topics[-1].title}” when you have time."
    elif topics and (words := list(_next_step(message, topics))):
        yield from words
    else:
        yield from _knowledge_base_reply(context, topics, embedder)


def _knowledge_base_reply(
    context: ChatContext, topics: list[Article], embedder: Embeddings | None
) -> Iterator[str]:
    message = context.last_user_message
    is_on_topic = not knowledge_base.is_off_topic(message)
    follows_up = bool(topics and is_on_topic and _FOLLOW_UP.search(message))
    nearest = knowledge_base.search(message, embedder)
    found = nearest[0]
    if not found.is_match and follows_up:
        # Together with the previous question, a follow-up may match a related article.
        for one in knowledge_base.search(f"{_previous_question(context)} {message}"):
            if one.is_match and knowledge_base.shares_subject(message, one.article):
                found = one
                break
    if found.is_match:
        yield from _article_reply(
            found.article, context.past_sessions, is_repeated=found.article in topics
        )
    elif follows_up or (is_on_topic and knowledge_base.is_interview_related(message)):
        yield f"I do not have a good answer to “{make_title(message)}”."
        candidates = [one.article for one in nearest[:3] if one.is_candidate]
        if candidates:
            yield f"The closest topics I have: {_list_titles(candidates)}."
        yield "Rephrase it, or tell me which part of the interview it is about."
    else:
        yield _decline(topics)


def _article_reply(
    article: Article, past_sessions: tuple[PastSession, ...], *, is_repeated: bool
) -> Iterator[str]:
    if is_repeated:
        yield f"{_ANOTHER_VIEW}{article.title}: {article.example} To practise: {article.drill}"
        return
    yield f"{article.title}: {article.advice}"
    remark = _related_remark(article, past_sessions)
    if remark:
        yield remark
    yield "I can give you an example of it, or an exercise."


def _next_step(message: str, topics: list[Article]) -> Iterator[str]:
    """Yield more about the last topic, if the message asks for nothing else."""
    bare = message
    for step in (_EXAMPLE_REQUEST, _DRILL_REQUEST, _MORE_REQUEST):
        bare = step.sub("", bare)
    last = topics[-1]
    if any(stem not in last.weights for stem in knowledge_base.content_stems(bare)):
        return
    if _EXAMPLE_REQUEST.search(message):
        yield f"{last.title}, an example: {last.example}"
    elif _DRILL_REQUEST.search(message):
        yield f"{last.title}, an exercise: {last.drill} Record it here, and I can score it."
    elif _MORE_REQUEST.search(message):
        about = knowledge_base.search(f"{last.title} {last.advice}")
        near = [one.article for one in about if one.article not in topics][:2]
        yield f"{last.title}, some more: {last.example} To practise: {last.drill}"
        yield f"Related topics: {_list_titles(near)}."


def _topics(context: ChatContext) -> list[Article]:
    """Return the articles that the coach has replied with, the latest last."""
    coach_texts = [line.removeprefix(_REPLIED) for line in context.summary.splitlines()]
    coach_texts += [message.text for message in context.messages if message.role == "assistant"]
    found: dict[str, Article] = {}
    for text in coach_texts:
        for article in knowledge_base.load_articles():
            title = text.removeprefix(_ANOTHER_VIEW)
            if title.startswith((f"{article.title}:", f"{article.title},")):
                found.pop(article.name, None)
                found[article.name] = article
    return list(found.values())


def _previous_question(context: ChatContext) -> str:
    asked = [message.text for message in context.messages[:-1] if message.role == "user"]
    return asked[-1] if asked else ""


def _greeting_reply(past_sessions: tuple[PastSession, ...]) -> Iterator[str]:
    yield "Hello!"
    if not past_sessions:
        yield "Which interview is coming up, and what about it worries you most?"
        return
    yield f"In your last session, “{past_sessions[0].title}”, {_describe_score(past_sessions[0])}."
    for remark in past_sessions[0].improvements[:1]:
        yield f"The thing to work on was: {remark} Shall we begin there?"


def _recap_reply(context: ChatContext, topics: list[Article]) -> Iterator[str]:
    yield f"We have talked about {_list_titles(topics)}."
    older = [line for line in context.summary.splitlines() if line.startswith(_ASKED)]
    first = older[0].removeprefix(_ASKED) if older else make_title(context.messages[0].text)
    yield f"You began by asking “{first}”."


def _history_reply(past_sessions: tuple[PastSession, ...]) -> Iterator[str]:
    if not past_sessions:
        yield "You have no scored session yet. Record an answer, and I can comment on it."
        return
    last, *earlier = past_sessions
    yield f"In your last session, “{last.title}”, {_describe_score(last)}."
    before = [str(one.overall_score) for one in earlier if one.overall_score is not None]
    if before:
        yield f"Earlier scores, newest first: {', '.join(before)}."
    if not last.improvements:
        yield "Nothing stood out to change."
        return
    yield f"To work on: {' '.join(last.improvements[:2])}"
    again = [
        one for one in last.improvements if any(one in older.improvements for older in earlier)
    ]
    if again:
        yield f"This came up before as well: {again[0]}"
    found = knowledge_base.search(last.improvements[0])[0]
    if found.is_match:
        yield f"An exercise for it: {found.article.drill}"


def _describe_score(session: PastSession) -> str:
    if session.overall_score is None:
        return "you got no score"
    return f"you scored {session.overall_score}"


def _related_remark(article: Article, past_sessions: tuple[PastSession, ...]) -> str:
    for session in past_sessions:
        for remark in session.improvements:
            found = knowledge_base.search(remark)[0]
            if found.is_match and found.article is article:
                which = "your last session" if session is past_sessions[0] else "an earlier session"
                return f"In {which}, “{session.title}”, this came up: {remark}"
    return ""


def _decline(topics: list[Article]) -> str:
    scope = "I am an interview coach and can only help with interviews."
    if topics:
        return f"{scope} Shall we continue with “{topics[-1].title}”?"
    return f"{scope} What question would you like to be ready for?"


def _list_titles(articles: list[Article]) -> str:
    return ", ".join(f"“{article.title}”" for article in articles)
