"""The public routes and the service behind each. Start reading here.

A path is matched once, on its raw bytes. Paths that need decoding are rejected, because no route
needs it. The canonical path is forwarded, never the client's spelling.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from coach_common.errors import BadRequest, CoachError, NotFound


class MethodNotAllowed(CoachError):
    """The path exists but does not support the method."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        message = f"Method not allowed. Use {' or '.join(allowed)}."
        super().__init__(message, code="method_not_allowed")
        self.allowed = allowed


@dataclass(frozen=True, slots=True)
class Route:
    """One public operation. `{id}` matches one path segment.

    A route with `max_body_bytes` takes a file instead of JSON. The others have MAX_BODY_BYTES.
    """

    method: str
    path: str
    upstream: str
    is_open: bool = False
    limit: str = "user"
    max_body_bytes: int | None = None


@dataclass(slots=True)
class Match:
    """A route and the path to request from its upstream.

    Not frozen, because creating a frozen instance costs more than the match.
    """

    route: Route
    path: str


MAX_FILE_BYTES = 4 * 1024**2
"""The share of a client in the default of MAX_BUFFERED_BODY_BYTES."""

ROUTES = (
    Route("POST", "/auth/register", "auth", is_open=True, limit="open"),
    Route("POST", "/auth/login", "auth", is_open=True, limit="open"),
    Route("POST", "/auth/refresh", "auth", is_open=True, limit="open"),
    Route("POST", "/auth/logout", "auth"),
    Route("GET", "/auth/me", "auth"),
    Route("PUT", "/auth/me", "auth"),
    Route("DELETE", "/auth/me", "auth"),
    Route("GET", "/auth/me/consents", "auth"),
    Route("PUT", "/auth/me/consents", "auth"),
    Route("POST", "/auth/me/export", "media"),
    Route("GET", "/auth/me/export/{id}", "media"),
    Route("GET", "/auth/logins", "auth"),
    Route("DELETE", "/auth/logins/{id}", "auth"),
    Route("POST", "/auth/password/forgot", "auth", is_open=True, limit="open"),
    Route("POST", "/auth/password/reset", "auth", is_open=True, limit="open"),
    Route("POST", "/auth/verify", "auth", is_open=True, limit="open"),
    Route("POST", "/auth/verify/resend", "auth"),
    Route("POST", "/auth/email/undo", "auth", is_open=True, limit="open"),
    Route("GET", "/.well-known/jwks.json", "auth", is_open=True, limit="open"),
    Route("GET", "/privacy/receipts/{id}", "auth", is_open=True, limit="open"),
    Route("POST", "/sessions", "sessions"),
    Route("GET", "/sessions", "sessions"),
    Route("GET", "/sessions/{id}", "sessions"),
    Route("DELETE", "/sessions/{id}", "sessions"),
    Route("POST", "/sessions/{id}/complete", "sessions"),
    Route("GET", "/sessions/{id}/feedback", "sessions"),
    Route("GET", "/sessions/{id}/attempts", "sessions"),
    Route("PUT", "/sessions/{id}/self-rating", "sessions"),
    Route("POST", "/sessions/{id}/rewrite", "ai", limit="chat"),
    Route("POST", "/sessions/{id}/dispute", "ai"),
    Route("GET", "/progress", "sessions"),
    Route("POST", "/upload/s3-presign", "media"),
    Route("POST", "/upload/confirm", "media"),
    Route("GET", "/upload/retention", "media"),
    Route("PUT", "/upload/retention", "media"),
    Route("GET", "/upload/{id}", "media"),
    Route("GET", "/upload/{id}/url", "media"),
    Route("GET", "/quality", "ai", is_open=True, limit="open"),
    Route("POST", "/ai/chat", "ai", limit="chat"),
    Route("GET", "/ai/conversations", "ai"),
    Route("GET", "/ai/conversations/{id}", "ai"),
    Route("DELETE", "/ai/conversations/{id}", "ai"),
    Route("GET", "/questions", "ai"),
    Route("POST", "/questions", "ai"),
    Route("GET", "/questions/next", "ai"),
    Route("GET", "/questions/sets", "ai"),
    Route("GET", "/questions/sets/weak-points", "ai"),
    Route("GET", "/questions/sets/{id}", "ai"),
    Route("GET", "/questions/collections", "ai"),
    Route("POST", "/questions/proposed-points", "ai"),
    Route("PUT", "/questions/{id}/bookmark", "ai"),
    Route("DELETE", "/questions/{id}/bookmark", "ai"),
    Route("PUT", "/questions/{id}/interview-note", "ai"),
    Route("DELETE", "/questions/{id}/interview-note", "ai"),
    Route("GET", "/questions/{id}", "ai"),
    Route("PUT", "/questions/{id}", "ai"),
    Route("DELETE", "/questions/{id}", "ai"),
    Route("POST", "/ai-interview/sessions", "ai"),
    Route("GET", "/ai-interview/sessions", "ai"),
    Route("GET", "/ai-interview/sessions/{id}", "ai"),
    Route("DELETE", "/ai-interview/sessions/{id}", "ai"),
    Route("GET", "/ai-interview/sessions/{id}/turns/{id}/audio", "ai"),
    Route("GET", "/ai-interview/sessions/{id}/silence/audio", "ai"),
    Route("POST", "/ai-interview/sessions/{id}/message", "ai", limit="chat"),
    Route("POST", "/ai-interview/sessions/{id}/interruption", "ai"),
    Route("POST", "/ai-interview/sessions/{id}/complete", "ai"),
    Route("POST", "/ai-interview/sessions/{id}/assess", "ai", limit="chat"),
    Route("GET", "/ai-interview/profile", "ai"),
    Route("POST", "/ai-interview/profile", "ai"),
    Route("PUT", "/ai-interview/profile", "ai"),
    Route("DELETE", "/ai-interview/profile", "ai"),
    Route("POST", "/ai-interview/profile/index", "ai", limit="chat"),
    Route("GET", "/ai-interview/profile/match", "ai", limit="chat"),
    Route("GET", "/ai-interview/stories", "ai"),
    Route("POST", "/ai-interview/stories", "ai"),
    Route("PUT", "/ai-interview/stories/{id}", "ai"),
    Route("DELETE", "/ai-interview/stories/{id}", "ai"),
    Route("GET", "/ai-interview/stories/{id}/questions", "ai", limit="chat"),
    Route(
        "POST", "/ai-interview/profile/resume", "ai", limit="chat", max_body_bytes=MAX_FILE_BYTES
    ),
)

SOCKET_PATH = "/ws/transcribe"
VERSION_PREFIX = "/v1"

_NON_CANONICAL = re.compile(rb"%|//|\.\.|;|\\|[^\x21-\x7e]")


class Router:
    """Finds the route of a path and method."""

    def __init__(self, routes: tuple[Route, ...] = ROUTES) -> None:
        self._fixed: dict[str, dict[str, Route]] = {}
        self._parameterised: dict[int, list[tuple[tuple[str, ...], dict[str, Route]]]] = {}
        for route in routes:
            self._methods_for(route)[route.method] = route

    def match(self, raw_path: bytes, method: str) -> Match:
        """Return the route of a path and method.

        Raises:
            BadRequest: If the path is not canonical.
            NotFound: If there is no such path.
            MethodNotAllowed: If the path does not support the method.
        """
        path = canonical_path(raw_path)
        methods = self._fixed.get(path) or self._find(tuple(path.split("/")))
        if methods is None and path == SOCKET_PATH:
            raise BadRequest(
                "Open this path with a WebSocket upgrade: GET without a body.",
                code="upgrade_required",
            )
        if methods is None:
            raise NotFound("Not found.", code="no_such_route")
        route = methods.get(method)
        if route is None:
            raise MethodNotAllowed(tuple(sorted(methods)))
        return Match(route, path)

    def _find(self, segments: tuple[str, ...]) -> dict[str, Route] | None:
        for pattern, methods in self._parameterised.get(len(segments), ()):
            if all(
                want == have or (want == "{id}" and have)
                for want, have in zip(pattern, segments, strict=True)
            ):
                return methods
        return None

    def _methods_for(self, route: Route) -> dict[str, Route]:
        if "{id}" not in route.path:
            return self._fixed.setdefault(route.path, {})
        pattern = tuple(route.path.split("/"))
        same_length = self._parameterised.setdefault(len(pattern), [])
        for known, methods in same_length:
            if known == pattern:
                return methods
        same_length.append((pattern, {}))
        return same_length[-1][1]


@lru_cache(maxsize=1024)
def canonical_path(raw_path: bytes) -> str:
    """Return the path without /v1, or without the one trailing slash that old apps send."""
    if _NON_CANONICAL.search(raw_path):
        raise BadRequest("The path contains characters that are not allowed.", code="odd_path")
    path = raw_path.decode("ascii")
    if path.startswith(VERSION_PREFIX + "/"):
        return path.removeprefix(VERSION_PREFIX)
    if path.endswith("/") and len(path) > 1:
        return path[:-1]
    return path
