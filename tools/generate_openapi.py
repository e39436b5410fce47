"""Write the public OpenAPI document, merged from the documents of the services.

Usage: `python tools/generate_openapi.py [--check]`.
"""

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import coach_ai.interview_routes
import coach_ai.practice_routes
import coach_ai.profile_routes
import coach_ai.rewrite_routes
import coach_ai.routes
import coach_ai.story_routes
import coach_auth.consent_routes
import coach_auth.receipt_routes
import coach_auth.routes
import coach_media.export_routes
import coach_media.routes
import coach_sessions.routes
from coach_common.http.app import create_app
from coach_gateway.openapi_merge import merge
from generated_file import write_or_check

_FILE = Path(str(files("coach_gateway") / "openapi.json"))

_ROUTERS = {
    "auth": (
        coach_auth.routes.router,
        coach_auth.receipt_routes.router,
        coach_auth.consent_routes.router,
    ),
    "sessions": (coach_sessions.routes.router, coach_sessions.routes.progress_router),
    "media": (coach_media.routes.router, coach_media.export_routes.router),
    "ai": (
        coach_ai.routes.router,
        coach_ai.practice_routes.router,
        coach_ai.routes.questions_router,
        coach_ai.interview_routes.router,
        coach_ai.profile_routes.router,
        coach_ai.story_routes.router,
        coach_ai.rewrite_routes.router,
    ),
}


def public_document() -> str:
    """Return the merged document as JSON."""
    documents: dict[str, Any] = {}
    for name, routers in _ROUTERS.items():
        app = create_app(name, checks={})
        for router in routers:
            app.include_router(router)
        documents[name] = app.openapi()
    return json.dumps(merge(documents), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    raise SystemExit(write_or_check(_FILE, public_document(), sys.argv[1:]))
