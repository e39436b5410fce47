"""Route matching."""

import pytest

from coach_common.errors import BadRequest, CoachError, NotFound
from coach_gateway.routing import ROUTES, MethodNotAllowed, Router


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_route_matches_with_and_without_v1_prefix(route: object) -> None:
    path = route.path.replace("{id}", "0190-x")  # type: ignore[attr-defined]
    method = route.method  # type: ignore[attr-defined]
    for spelled in (path, f"/v1{path}", f"{path}/"):
        match = Router().match(spelled.encode(), method)
        assert (match.route, match.path) == (route, path)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../internal/x", "/v1/%2e%2e/metrics", "//auth/me", "/v1/sessions/..%2f..%2fhealth",
        "/%252e", "/auth/me;x=1", "/auth\\me", "/auth/me%00", "/v1/v1/auth/me", "/V1/AUTH/ME",
        "/auth/me.", "/auth//me", "/v1/auth/me/", "/auth/me//", "/internal/revocations",
        "/v1/internal/revocations", "/auth/login/../../sessions", "/sessions//feedback",
        "/sessions/a/b/c", "/upload", "/v1", "/v1/", "/ai", "/metrics/x", "/ſessions", "/auth/me ",
    ],
)  # fmt: skip
def test_unknown_path_is_rejected(path: str) -> None:
    with pytest.raises((BadRequest, NotFound)):
        Router().match(path.encode(), "GET")


def test_wrong_method_lists_allowed_methods() -> None:
    with pytest.raises(MethodNotAllowed) as refused:
        Router().match(b"/auth/me", "POST")

    assert refused.value.allowed == ("DELETE", "GET", "PUT")
    for method in ("TRACE", "CONNECT", "PROPFIND", "HEAD", "get"):
        with pytest.raises(CoachError):
            Router().match(b"/auth/me", method)
