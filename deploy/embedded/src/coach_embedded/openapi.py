"""`python -m coach_embedded.openapi [--check]`: the one public document, from the services' own."""

import json
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import coach_ai.routes
import coach_auth.routes
import coach_media.routes
import coach_sessions.routes
from coach_common.http.app import create_app
from coach_gateway.openapi_merge import merge

FILE = Path(str(files("coach_gateway") / "openapi.json"))

_ROUTERS = {
    "auth": coach_auth.routes.router,
    "sessions": coach_sessions.routes.router,
    "media": coach_media.routes.router,
    "ai": coach_ai.routes.router,
}


def public_document() -> str:
    """Return the document as it should stand in the file."""
    documents: dict[str, Any] = {}
    for name, router in _ROUTERS.items():
        app = create_app(name, checks={})
        app.include_router(router)
        documents[name] = app.openapi()
    return json.dumps(merge(documents), indent=1, ensure_ascii=False) + "\n"


def main(argv: Sequence[str]) -> int:
    """Write the file, or tell whether it is stale."""
    document = public_document()
    if "--check" not in argv:
        FILE.write_text(document)
        return 0
    if FILE.read_text() != document:
        print("openapi.json is stale: run `make openapi`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
