"""Write the public OpenAPI document, merged from the documents of the services.

Usage: `python tools/generate_openapi.py [--check]`.
"""

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import coach_ai.public_routers
import coach_auth.public_routers
import coach_media.public_routers
import coach_sessions.public_routers
from coach_common.http.app import create_app
from coach_gateway.openapi_merge import merge
from generated_file import write_or_check

_FILE = Path(str(files("coach_gateway") / "openapi.json"))

_ROUTERS = {
    "auth": coach_auth.public_routers.PUBLIC_ROUTERS,
    "sessions": coach_sessions.public_routers.PUBLIC_ROUTERS,
    "media": coach_media.public_routers.PUBLIC_ROUTERS,
    "ai": coach_ai.public_routers.PUBLIC_ROUTERS,
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
