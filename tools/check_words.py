"""Report retired words in names, sentences and prose.

Sentences are log events, errors, metrics and the texts of the OpenAPI document. Prose is
docstrings, comments and documents.

Usage: `python tools/check_words.py`. The words and the exceptions are in `tools/words.toml`.
Exits with 1 if a retired word is used or if an exception matches nothing.
"""

import ast
import io
import json
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
WORDS_FILE = ROOT / "tools" / "words.toml"
OPENAPI_PATH = "services/gateway/src/coach_gateway/openapi.json"

_NOT_PROSE = (
    "docs/glossary.md",
    "services/ai/src/coach_ai/chat/articles/",
    "services/ai/src/coach_ai/prompts/",
)
"""The list of retired words, and texts of the product."""

_LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical"}
_METRIC_TYPES = {"Counter", "Gauge", "Histogram", "Summary"}
_ERROR_TYPES = {
    "InvalidInput", "BadRequest", "Unauthenticated", "Forbidden", "NotFound", "Conflict",
    "PayloadTooLarge", "UnsupportedMediaType", "TooManyRequests", "Unavailable",
}  # fmt: skip
_TEXT_FIELDS = {"description", "summary", "operationId", "title"}
_WORD_PATTERN = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")


@dataclass(frozen=True, slots=True)
class Rule:
    """A retired word or phrase, and what to write instead."""

    phrase: tuple[str, ...]
    instead: str
    kinds: frozenset[str] = frozenset(("name", "sentence"))
    paths: tuple[str, ...] = ("",)
    """Prefixes of the paths in which the word is retired. The empty prefix matches all."""

    def applies_to(self, text: "Text") -> bool:
        """Return True if the word is retired in texts of this kind and path."""
        return text.kind in self.kinds and text.path.startswith(self.paths)


@dataclass(frozen=True, slots=True)
class Exemption:
    """A use of a retired word that is right, inside the longer phrase `within`."""

    phrase: tuple[str, ...]
    reason: str
    path: str = ""
    """Prefix of the path. Empty matches all."""
    within: tuple[str, ...] = ()
    """Words of the text that contain the retired word. Empty matches all."""


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text to check. `kind` is `name`, `sentence` or `prose`."""

    path: str
    line: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A retired word in a text."""

    where: Text
    rule: Rule

    def __str__(self) -> str:
        phrase = " ".join(self.rule.phrase)
        return (
            f"{self.where.path}:{self.where.line}: {self.where.text!r} uses {phrase!r}, "
            f"write {self.rule.instead!r}"
        )


def split_words(text: str) -> list[str]:
    """Return the lower-case words of a sentence, a snake_case or a CamelCase name."""
    return [word.lower() for word in _WORD_PATTERN.findall(text)]


def parse_rules(document: Mapping[str, Any]) -> list[Rule]:
    """Return the rules of a words file. `words` lists the forms of one retired word."""
    return [
        Rule(
            tuple(form.split()),
            entry["instead"],
            frozenset(entry.get("kinds", ("name", "sentence"))),
            tuple(entry.get("paths", ("",))),
        )
        for entry in document.get("retired", ())
        for form in entry["words"]
    ]


def parse_exemptions(document: Mapping[str, Any]) -> list[Exemption]:
    """Return the exceptions of a words file. Each must give a reason."""
    return [
        Exemption(
            tuple(entry["word"].split()),
            entry["reason"],
            entry.get("path", ""),
            tuple(split_words(entry.get("within", ""))),
        )
        for entry in document.get("exception", ())
    ]


def python_texts(path: str, source: str) -> Iterator[Text]:
    """Yield the names that a module defines, and its log, error and metric texts."""
    yield Text(path, 1, "name", Path(path).stem)
    for node in ast.walk(ast.parse(source)):
        for name in _defined_names(node):
            yield Text(path, getattr(node, "lineno", 1), "name", name)
        for line, literal in _checked_literals(node):
            yield Text(path, line, "sentence", literal)


def prose_texts(path: str, source: str) -> Iterator[Text]:
    """Yield the docstrings and comments of a module, or the lines of a document."""
    if not path.endswith(".py"):
        for number, line in enumerate(source.splitlines(), 1):
            yield Text(path, number, "prose", line)
        return
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield Text(path, node.lineno, "prose", text)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Text(path, token.start[0], "prose", token.string)


def openapi_texts(path: str, document: object) -> Iterator[Text]:
    """Yield operation ids, schema names and descriptions of an OpenAPI document."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key in ("example", "examples"):
                continue
            if key in _TEXT_FIELDS and isinstance(value, str):
                yield Text(path, 1, "sentence", value)
            if key == "schemas" and isinstance(value, dict):
                yield from (Text(path, 1, "name", name) for name in value)
            yield from openapi_texts(path, value)
    elif isinstance(document, list):
        for item in document:
            yield from openapi_texts(path, item)


def find_words(texts: Iterator[Text], rules: Sequence[Rule]) -> Iterator[Finding]:
    """Yield each retired word that a text uses."""
    first_words: dict[str, list[Rule]] = {}
    for rule in rules:
        first_words.setdefault(rule.phrase[0], []).append(rule)
    for text in texts:
        words = split_words(text.text)
        for position, word in enumerate(words):
            for rule in first_words.get(word, ()):
                end = position + len(rule.phrase)
                if rule.applies_to(text) and tuple(words[position:end]) == rule.phrase:
                    yield Finding(text, rule)


def is_exempt(finding: Finding, exemption: Exemption) -> bool:
    """Return True if the exception covers the finding."""
    words = split_words(finding.where.text)
    length = len(exemption.within)
    return (
        finding.rule.phrase == exemption.phrase
        and finding.where.path.startswith(exemption.path)
        and any(
            tuple(words[start : start + length]) == exemption.within
            for start in range(len(words) - length + 1)
        )
    )


def check(
    texts: Iterator[Text], rules: Sequence[Rule], exemptions: Sequence[Exemption]
) -> list[str]:
    """Return one line per retired word, and one per exception that matches nothing."""
    findings = list(find_words(texts, rules))
    lines = [
        str(finding)
        for finding in findings
        if not any(is_exempt(finding, exemption) for exemption in exemptions)
    ]
    lines += [
        f"words.toml: the exception for {' '.join(exemption.phrase)!r} in "
        f"{exemption.path or ' '.join(exemption.within)!r} matches nothing"
        for exemption in exemptions
        if not any(is_exempt(finding, exemption) for finding in findings)
    ]
    return sorted(set(lines))


def _defined_names(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
            yield name
        case ast.Attribute(attr=name, ctx=ast.Store()):
            yield name
        case ast.alias(asname=str(name)):
            yield name
        case _:
            return


def _checked_literals(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the string literals of log events, errors and metrics with their lines."""
    if isinstance(node, ast.Raise) and node.exc is not None:
        yield from _strings(node.exc)
    elif isinstance(node, ast.Call):
        match node.func:
            case ast.Attribute(value=ast.Name(id="log" | "logger"), attr=method):
                if method in _LOG_METHODS:
                    yield from _strings(*node.args[:1])
            case ast.Attribute(attr="__init__" | "labels"):
                yield from _strings(*node.args)
            case ast.Name(id=name) if name in _METRIC_TYPES | _ERROR_TYPES:
                yield from _strings(*node.args)


def _strings(*nodes: ast.AST) -> Iterator[tuple[int, str]]:
    for node in nodes:
        for child in ast.walk(node):
            if isinstance(child, ast.Constant) and isinstance(child.value, str):
                yield child.lineno, child.value


def repository_texts() -> Iterator[Text]:
    """Yield the texts of all tracked Python files, of documents and of the OpenAPI document."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", "*.py", "*.md"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    for path in filter(None, listed.decode().split("\0")):
        if not (ROOT / path).is_file():
            continue
        source = (ROOT / path).read_text()
        if path.endswith(".py"):
            yield from python_texts(path, source)
        if not path.startswith(_NOT_PROSE):
            yield from prose_texts(path, source)
    yield from openapi_texts(OPENAPI_PATH, json.loads((ROOT / OPENAPI_PATH).read_text()))


def main() -> int:
    """Check the repository."""
    document = tomllib.loads(WORDS_FILE.read_text())
    lines = check(repository_texts(), parse_rules(document), parse_exemptions(document))
    for line in lines:
        print(line, file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    raise SystemExit(main())
