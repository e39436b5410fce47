"""The routers of the public API of ai."""

from coach_ai import (
    dispute_routes,
    interview_routes,
    practice_routes,
    profile_routes,
    rewrite_routes,
    routes,
    story_routes,
    voice_routes,
)

PUBLIC_ROUTERS = (
    routes.router,
    # Before the routes of a question: /questions/next is no question.
    practice_routes.router,
    routes.questions_router,
    interview_routes.router,
    profile_routes.router,
    story_routes.router,
    rewrite_routes.router,
    dispute_routes.router,
    voice_routes.router,
)
