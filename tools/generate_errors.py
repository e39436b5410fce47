"""Write docs/errors.md: every error code with its HTTP status and meaning.

Usage: `python tools/generate_errors.py [--check]`.

The codes come from the source code: the `code` of each CoachError class, the `code=` argument of
each error that is raised, and the tables of protocol errors.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from coach_common import errors
from coach_common.http.problems import HTTP_STATUS
from generated_file import ROOT, write_or_check

_FILE = ROOT / "docs" / "errors.md"
_SOURCES = ("libs/common/src", "services/*/src")
_SERVICE_ORDER = ("all", "gateway", "auth", "sessions", "media", "ai")

_EXTRA: Mapping[str, tuple[str, str]] = {
    "refused": ("400, 403", "The WebSocket handshake was rejected."),
    "ambiguous_request": ("400", "A header that must appear once is missing or repeated."),
    "method_not_allowed": ("405", "The path does not support the method. `Allow` lists methods."),
    "rate_limited": ("429", "The window is exhausted."),
    "token_invalid": (
        "400, 401",
        "401: the access token or service token is not valid. 400: a token from a mail is unknown,"
        " expired or used.",
    ),
    "token_missing": ("401", "The request has no access token."),
    "internal": ("500", "An unexpected error. The log has the details under the `request_id`."),
    "not_ready": ("503", "`/health/ready`: a dependency is unavailable; `missing` names it."),
}
"""Codes whose status or meaning cannot be read from the place that sends them."""

_HEAD = """# Error codes

Reference for client developers. Generated from the source code by `make docs`.

Every error response is a problem document (`application/problem+json`, RFC 9457). Switch on
`code`, show `detail` to the user and log `request_id`. On 422, `errors` lists the invalid fields.

```json
{
 "type": "urn:genai-coach:problem:session_not_found",
 "title": "Not Found",
 "status": 404,
 "detail": "Session not found",
 "code": "session_not_found",
 "request_id": "01936f5e8c1a7c3e"
}
```

WebSocket `error` frames carry the same codes. The column "sent by" names the services; `all` means
every service.

| status | what a client should do |
|---|---|
| 400, 404, 409, 413, 415, 422 | Fix the request. Do not retry it unchanged. |
| 401 | Refresh the access token, then retry once. If the refresh fails, sign in again. |
| 403 | The user may not do this. Do not retry. |
| 429, 503 | Retry after the number of seconds in `Retry-After`. |
| 500 | Retry later and report the `request_id`. |

| code | status | meaning | sent by |
|---|---|---|---|
"""


@dataclass(frozen=True, slots=True, order=True)
class ErrorCode:
    """One use of an error code in the source code."""

    code: str
    status: str
    is_call: bool
    """Class docstrings sort before the sentences of single calls and win."""
    meaning: str
    service: str


def error_classes() -> dict[str, type[errors.CoachError]]:
    """Return all error classes of all services by name. Imports every module with errors."""
    for path in _python_files():
        if "CoachError" in path.read_text() or "coach_common.errors" in path.read_text():
            import_module(_module_name(path))
    classes: dict[str, type[errors.CoachError]] = {}
    pending = [errors.CoachError]
    while pending:
        error_class = pending.pop()
        classes[error_class.__name__] = error_class
        pending += error_class.__subclasses__()
    return classes


def http_status_of_class(error_class: type[errors.CoachError]) -> int | None:
    """Return the status of the nearest kind, or None for errors that are not sent over HTTP."""
    for kind in error_class.__mro__:
        if kind in HTTP_STATUS:
            return HTTP_STATUS[kind]
    return None


def find_codes(
    service: str, source: str, classes: Mapping[str, type[errors.CoachError]]
) -> Iterator[ErrorCode]:
    """Yield the error codes that a module defines or raises."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ClassDef(name=name) if name in classes:
                yield from _from_class(service, node, classes[name])
            case ast.Call(func=ast.Name(id="parse_id"), keywords=keywords):
                yield from _from_parse_id(service, keywords)
            case ast.Call(func=function, args=arguments, keywords=keywords):
                code = _keyword_text(keywords, "code")
                if code is None:
                    continue
                if code in _EXTRA:
                    yield ErrorCode(code, *_extra(code), service)
                elif isinstance(function, ast.Name) and function.id in classes:
                    status = http_status_of_class(classes[function.id])
                    yield ErrorCode(code, str(status), True, _sentence(arguments[0]), service)
            case ast.Dict(keys=keys, values=values):
                for key, value in zip(keys, values, strict=True):
                    match key, value:
                        case (
                            ast.Constant(value=str(code)),
                            ast.Tuple(elts=[ast.Constant(value=int(status)), sentence]),
                        ):
                            yield ErrorCode(code, str(status), True, _sentence(sentence), service)
            case _:
                pass


def render(codes: set[ErrorCode]) -> str:
    """Return the document."""
    by_code: dict[str, list[ErrorCode]] = defaultdict(list)
    for code in sorted(codes):
        by_code[code.code].append(code)
    rows = []
    for name, uses in sorted(by_code.items()):
        statuses = ", ".join(dict.fromkeys(use.status for use in uses))
        services = {use.service for use in uses}
        senders = ", ".join(
            ["all"] if "all" in services else sorted(services, key=_SERVICE_ORDER.index)
        )
        rows.append(f"| `{name}` | {statuses} | {uses[0].meaning} | {senders} |\n")
    return _HEAD + "".join(rows)


def repository_codes() -> set[ErrorCode]:
    """Return the error codes of all services."""
    classes = error_classes()
    codes: set[ErrorCode] = set()
    for path in _python_files():
        service = _module_name(path).partition(".")[0].removeprefix("coach_")
        service = "all" if service == "common" else service
        codes |= set(find_codes(service, path.read_text(), classes))
    return codes


def _from_class(
    service: str, node: ast.ClassDef, error_class: type[errors.CoachError]
) -> Iterator[ErrorCode]:
    status = http_status_of_class(error_class)
    if error_class.code in _EXTRA:
        yield ErrorCode(error_class.code, *_extra(error_class.code), service)
    elif status is not None and "code" in error_class.__dict__:
        meaning = (ast.get_docstring(node) or "").partition("\n\n")[0].replace("\n", " ")
        yield ErrorCode(error_class.code, str(status), False, meaning, service)


def _from_parse_id(service: str, keywords: list[ast.keyword]) -> Iterator[ErrorCode]:
    resource = _keyword_text(keywords, "resource")
    if resource is not None:
        yield ErrorCode(
            f"{resource.lower()}_not_found", "404", True, f"{resource} not found", service
        )


def _extra(code: str) -> tuple[str, bool, str]:
    status, meaning = _EXTRA[code]
    return status, False, meaning


def _keyword_text(keywords: list[ast.keyword], name: str) -> str | None:
    for keyword in keywords:
        if keyword.arg == name and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return None


def _sentence(node: ast.expr) -> str:
    """Return the text of a literal; `…` stands for values that are filled in."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(
                str(part.value) if isinstance(part, ast.Constant) else "…" for part in values
            )
        case _:
            return ""


def _python_files() -> list[Path]:
    return sorted(
        path
        for pattern in _SOURCES
        for source in ROOT.glob(pattern)
        for path in source.rglob("*.py")
        if "testing" not in path.parts and "migrations" not in path.parts
    )


def _module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[parts.index("src") + 1 :]).removesuffix(".__init__")


if __name__ == "__main__":
    raise SystemExit(write_or_check(_FILE, render(repository_codes()), sys.argv[1:]))
