"""The dependencies that use cases of ai may use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from coach_ai.chat.turn_queue import TurnQueue
from coach_ai.consent import ConsentPolicy
from coach_ai.domain import JobKind
from coach_ai.downloads import DownloadDirectory
from coach_ai.idle_workers import IdleWorkers
from coach_ai.interview.rule_interviewer import RuleInterviewer
from coach_ai.ports import Chat, Interviewer, Rewriter, Scorer, Transcriber, Voice
from coach_ai.profile.document_parser import DocumentParser
from coach_ai.profile.similarity import StoryMatcher, TextEncoder
from coach_ai.token_usage import Price
from coach_common.clock import Clock
from coach_common.db.database import Database
from coach_common.db.deletion_log import DeletionLog
from coach_common.drain import Drain
from coach_common.events.interviews import InterviewDeleted
from coach_common.repair import DEFAULT_DELAY
from coach_common.storage import ObjectStore


@dataclass(frozen=True, slots=True)
class Deps:
    """Database, clock, object store, AI providers, and the workers that wait for jobs."""

    db: Database
    clock: Clock
    objects: ObjectStore
    transcriber: Transcriber
    scorer: Scorer
    chat: Chat
    rewriter: Rewriter
    deletions: DeletionLog[InterviewDeleted]
    downloads: DownloadDirectory
    """Recordings that are being transcribed."""
    provider: str
    """Name of the provider of feedback and chat: `local` or `openai`."""
    interviewer: Interviewer = field(default_factory=RuleInterviewer)
    chat_history_tokens: int = 4000
    daily_tokens: int = 200_000
    """Most language model tokens per user and UTC day."""
    prices: Mapping[str, Price] = field(default_factory=dict)
    voice: Voice | None = None
    """The interviewer's voice. None: this server has none."""
    fallback_voice: Voice | None = None
    """Speaks while `voice` is unavailable."""
    silence_seconds: int = 20
    """How long a silence may last in an interview, for users who have not chosen. 0: forever."""
    consent: ConsentPolicy = field(default_factory=ConsentPolicy)
    drain: Drain = field(default_factory=Drain)
    """The jobs under way."""
    get_encoder: Callable[[], TextEncoder | None] = lambda: None
    """Returns the sentence embeddings, or None if they are not installed or disabled."""
    get_story_matcher: Callable[[], StoryMatcher | None] = lambda: None
    """Returns what compares stories with questions, or None without embeddings."""
    documents: DocumentParser = field(default_factory=DocumentParser)
    chat_turns: TurnQueue = field(default_factory=TurnQueue)
    interview_turns: TurnQueue = field(default_factory=TurnQueue)
    rewrites: TurnQueue = field(default_factory=TurnQueue)
    repair_delay: timedelta = DEFAULT_DELAY
    """How soon the state of an interview is published again."""
    idle_workers: dict[JobKind, IdleWorkers] = field(
        default_factory=lambda: {kind: IdleWorkers() for kind in JobKind}
    )

    def notify_workers(self, *kinds: JobKind) -> None:
        """Wake the workers of these job kinds, or of all kinds if none is given."""
        for kind in kinds or JobKind:
            self.idle_workers[kind].notify()
