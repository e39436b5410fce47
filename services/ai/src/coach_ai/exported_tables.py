"""What ai adds to the export of a user's data.

The expected points of the question bank are left out: they are the solution, and no data of the
user.
"""

from coach_ai.tables import (
    ANSWERS,
    BOOKMARKS,
    BUDGETS,
    CONSENTS,
    CONVERSATIONS,
    DISPUTES,
    IMPROVEMENT_CONSENTS,
    INTERVIEW_NOTES,
    INTERVIEW_TURNS,
    INTERVIEWS,
    MESSAGES,
    OWN_QUESTIONS,
    PROFILE_INDEXES,
    PROFILES,
    QUESTION_CARDS,
    QUESTION_REVIEWS,
    QUESTIONS,
    RECORDINGS,
    REWRITES,
    SCORING_USAGE,
    STORIES,
)
from coach_common.db.export import ExportedTable

EXPORTED_TABLES = (
    ExportedTable(RECORDINGS),
    ExportedTable(ANSWERS),
    ExportedTable(QUESTIONS, hidden=("reference",)),
    ExportedTable(DISPUTES),
    ExportedTable(REWRITES, hidden=("source_digest",)),
    ExportedTable(OWN_QUESTIONS),
    ExportedTable(CONVERSATIONS),
    ExportedTable(MESSAGES),
    ExportedTable(INTERVIEWS, hidden=("plan",)),
    ExportedTable(INTERVIEW_TURNS),
    ExportedTable(SCORING_USAGE),
    ExportedTable(BUDGETS),
    ExportedTable(CONSENTS),
    ExportedTable(IMPROVEMENT_CONSENTS),
    ExportedTable(QUESTION_CARDS),
    ExportedTable(QUESTION_REVIEWS),
    ExportedTable(BOOKMARKS),
    ExportedTable(INTERVIEW_NOTES),
    ExportedTable(PROFILES),
    ExportedTable(PROFILE_INDEXES, hidden=("vectors",)),
    ExportedTable(STORIES, hidden=("vectors", "vector_count")),
)
