"""Requests on the wire: their target, their head and their ASGI scope."""

from typing import Any
from urllib.parse import unquote

import httptools

from coach_common.http.exchange import Headers, encode_headers


def split_url(url: bytes) -> tuple[bytes, bytes]:
    """Return path and query of a request target in origin or absolute form."""
    if url[:1] == b"/":
        path, _, query = url.partition(b"?")
        return path, query
    parsed: Any = httptools.parse_url(url)  # a missing part is None, which its stub denies
    return parsed.path or b"/", parsed.query or b""


def build_scope(
    method: str, version: str, path: bytes, query: bytes, headers: Headers
) -> dict[str, Any]:
    """Return the ASGI scope of a request. The caller adds `client`, `server` and `state`."""
    text = path.decode("latin-1")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": version,
        "method": method,
        "scheme": "http",
        "path": unquote(text) if "%" in text else text,
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
    }


def encode_request_head(method: bytes, url: bytes, headers: Headers) -> bytes:
    """Return the bytes of a request head, with its empty line."""
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, url, encode_headers(headers))
