"""The public routes, each with the service behind it. The first thing to read.

A path is matched once, on its raw bytes; whatever would need decoding is refused, for no route
needs it. What is forwarded is the canonical path, never what the client spelled.
"""

import re
from dataclasses import dataclass

from coach_common.errors import BadRequest, CoachError, NotFound


class WrongMethod(CoachError):
    """The path is there, and does not take this method."""

    code = "method_not_allowed"

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(f"Only {', '.join(allowed)} here.")
        self.allowed = allowed


@dataclass(frozen=True, slots=True)
class Route:
    """One public call: `{id}` stands for one segment."""

    method: str
    path: str
    upstream: str
    is_open: bool = False
    limit: str = "user"


@dataclass(slots=True)
class Match:
    """A route, and the path to ask its upstream for. One is made for every request, so it is not
    frozen: that costs more than the match."""

    route: Route
    path: str


ROUTES = (
    Route("POST", "/auth/register", "auth", is_open=True, limit="open"),
    Route("POST", "/auth/login", "auth", is_open=True, limit="open"),
    Route("POST", "/auth/refresh", "auth", is_open=True, limit="open"),
    Route("POST", "/auth/logout", "auth"),
    Route("GET", "/auth/me", "auth"),
    Route("PUT", "/auth/me", "auth"),
    Route("DELETE", "/auth/me", "auth"),
    Route("GET", "/auth/logins", "auth"),
    Route("DELETE", "/auth/logins/{id}", "auth"),
    Route("POST", "/auth/password/forgot", "auth", is_open=True, limit="open"),
    Route("POST", "/auth/password/reset", "auth", is_open=True, limit="open"),
    Route("POST", "/auth/verify", "auth", is_open=True, limit="open"),
    Route("POST", "/auth/verify/resend", "auth"),
    Route("POST", "/auth/email/undo", "auth", is_open=True, limit="open"),
    Route("GET", "/.well-known/jwks.json", "auth", is_open=True, limit="open"),
    Route("POST", "/sessions", "sessions"),
    Route("GET", "/sessions", "sessions"),
    Route("GET", "/sessions/{id}", "sessions"),
    Route("DELETE", "/sessions/{id}", "sessions"),
    Route("POST", "/sessions/{id}/complete", "sessions"),
    Route("GET", "/sessions/{id}/feedback", "sessions"),
    Route("POST", "/upload/s3-presign", "media"),
    Route("POST", "/upload/confirm", "media"),
    Route("GET", "/upload/{id}", "media"),
    Route("GET", "/upload/{id}/url", "media"),
    Route("GET", "/quality", "ai", is_open=True, limit="open"),
    Route("POST", "/ai/chat", "ai", limit="chat"),
    Route("GET", "/ai/conversations", "ai"),
    Route("GET", "/ai/conversations/{id}", "ai"),
    Route("DELETE", "/ai/conversations/{id}", "ai"),
)

SOCKET = "/ws/transcribe"
VERSION = "/v1"

_ODD = re.compile(rb"%|//|\.\.|;|\\|[^\x21-\x7e]")


class Router:
    """Finds the route of a path and a method."""

    def __init__(self, routes: tuple[Route, ...] = ROUTES) -> None:
        self._fixed: dict[str, dict[str, Route]] = {}
        self._open_ended: dict[int, list[tuple[tuple[str, ...], dict[str, Route]]]] = {}
        for route in routes:
            self._methods_of(route)[route.method] = route

    def match(self, raw_path: bytes, method: str) -> Match:
        """Return the route; BadRequest, NotFound or WrongMethod where there is none."""
        path = canonical(raw_path)
        methods = self._fixed.get(path) or self._find(tuple(path.split("/")))
        if methods is None:
            raise NotFound("There is nothing here.", code="no_such_route")
        route = methods.get(method)
        if route is None:
            raise WrongMethod(tuple(sorted(methods)))
        return Match(route, path)

    def _find(self, segments: tuple[str, ...]) -> dict[str, Route] | None:
        for pattern, methods in self._open_ended.get(len(segments), ()):
            if all(
                want == have or (want == "{id}" and have)
                for want, have in zip(pattern, segments, strict=True)
            ):
                return methods
        return None

    def _methods_of(self, route: Route) -> dict[str, Route]:
        if "{id}" not in route.path:
            return self._fixed.setdefault(route.path, {})
        pattern = tuple(route.path.split("/"))
        same_length = self._open_ended.setdefault(len(pattern), [])
        for known, methods in same_length:
            if known == pattern:
                return methods
        same_length.append((pattern, {}))
        return same_length[-1][1]


def canonical(raw_path: bytes) -> str:
    """Return the bare path: without /v1, or without the one trailing slash old apps send."""
    if _ODD.search(raw_path):
        raise BadRequest("This path is not one of ours.", code="odd_path")
    path = raw_path.decode("ascii")
    if path.startswith(VERSION + "/"):
        return path.removeprefix(VERSION)
    if path.endswith("/") and len(path) > 1:
        return path[:-1]
    return path
