"""Renders the API reference at /docs from the OpenAPI document as one static page."""

import json
from collections.abc import Mapping
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --accent: #2563eb }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem }
h1 { margin-bottom: 0 }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) }
code, pre { font: 14px/1.5 ui-monospace, monospace }
pre { background: var(--soft); padding: .8rem; border-radius: .4rem; overflow-x: auto }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .5rem 0;
  padding: .5rem .8rem }
summary { cursor: pointer }
summary b { display: inline-block; min-width: 4.5rem; color: var(--accent) }
.open { border: 1px solid var(--line); border-radius: 1rem; padding: 0 .5rem; font-size: .8rem }
table { border-collapse: collapse; width: 100% }
td { vertical-align: top; border-top: 1px solid var(--line); padding: .3rem .6rem .3rem 0 }
nav a { margin-right: 1rem }
"""


def render(document: Mapping[str, Any]) -> str:
    """Return the HTML page."""
    groups: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tag = (operation.get("tags") or ["more"])[0]
            groups.setdefault(tag, []).append(_render_operation(document, method, path, operation))
    info = document["info"]
    links = "".join(f'<a href="#{escape(tag)}">{escape(tag)}</a>' for tag in groups)
    body = "".join(
        f'<h2 id="{escape(tag)}">{escape(tag)}</h2>{"".join(items)}'
        for tag, items in groups.items()
    )
    description = "".join(
        f"<p>{_render_inline(paragraph)}</p>" for paragraph in info["description"].split("\n\n")
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width">'
        f"<title>{escape(info['title'])}: the API</title><style>{_STYLE}</style>"
        f"<h1>{escape(info['title'])}</h1><p>Version {escape(info['version'])}. "
        "Every path is served under <code>/v1</code> and, for older app versions, without it. "
        "Machine-readable: <a href=/openapi.json>openapi.json</a>.</p>"
        f"<nav>{links}</nav>{description}{body}</html>"
    )


def _render_operation(
    document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]
) -> str:
    is_open = "" if operation.get("security") else " <span class=open>open</span>"
    parts = [f"<p>{_render_inline(operation.get('description', ''))}</p>"]
    if operation.get("parameters"):
        rows = "".join(
            f"<tr><td><code>{escape(one['name'])}</code><td>{escape(one['in'])}"
            f"<td>{_render_type(one['schema'])}{' · required' if one.get('required') else ''}"
            for one in operation["parameters"]
        )
        parts.append(f"<h4>Parameters</h4><table>{rows}</table>")
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]
        if "application/json" in content:
            body = _render_fields(document, content["application/json"]["schema"])
        else:
            body = f"<p>a file: {escape(' or '.join(content))}</p>"
        parts.append(f"<h4>Body</h4>{body}")
    error_responses = []
    for status, response in operation["responses"].items():
        if "$ref" in response:
            error_response = document["components"]["responses"][
                response["$ref"].rpartition("/")[2]
            ]
            error_responses.append(
                f"<tr><td><code>{status}</code><td>{_render_inline(error_response['description'])}"
            )
            continue
        for media, content in response.get("content", {}).items():
            parts.append(
                f"<h4>{escape(status)} <code>{escape(media)}</code></h4>"
                f"{_render_fields(document, content.get('schema', {}))}"
            )
        if not response.get("content"):
            parts.append(f"<h4>{escape(status)}</h4><p>{escape(response['description'])}</p>")
    parts.append(f"<h4>Problems</h4><table>{''.join(error_responses)}</table>")
    return (
        f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code>{is_open} "
        f"{escape(operation.get('summary', ''))}</summary>{''.join(parts)}</details>"
    )


def _render_fields(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    resolved = _resolve(document, schema)
    properties = resolved.get("properties")
    if not properties:
        return f"<pre>{escape(json.dumps(resolved, indent=2))}</pre>"
    required = resolved.get("required", ())
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code><td>{_render_type(one)}"
        f"{' · required' if name in required else ''}"
        f"<td>{_render_inline(one.get('description', ''))}"
        for name, one in properties.items()
    )
    return f"<p>{_render_inline(resolved.get('description', ''))}</p><table>{rows}</table>"


def _resolve(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    for option in schema.get("anyOf", ()):
        if "$ref" in option:
            schema = option
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        found: Mapping[str, Any] = document["components"]["schemas"][name]
        return found
    return schema


def _render_type(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_render_type(option) for option in schema["anyOf"])
    if "$ref" in schema:
        return escape(schema["$ref"].rsplit("/", 1)[-1])
    if "enum" in schema:
        return escape(", ".join(map(str, schema["enum"])))
    named = schema.get("type", "any")
    kind = " or ".join(named) if isinstance(named, list) else str(named)
    if kind == "array":
        return f"list of {_render_type(schema.get('items', {}))}"
    bounds = ", ".join(
        f"{word} {schema[key]}"
        for key, word in (
            ("minimum", "from"), ("maximum", "to"), ("minLength", "at least"),
            ("maxLength", "at most"), ("format", "as"),
        )
        if key in schema
    )  # fmt: skip
    return escape(f"{kind} ({bounds})" if bounds else kind)


def _render_inline(text: str) -> str:
    """Return text with `code` marked up."""
    parts = escape(text).split("`")
    return "".join(
        f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts)
    )
