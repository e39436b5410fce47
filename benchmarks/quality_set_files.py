"""Reads folders of graded sets. A file that does not have the format below raises InvalidSet.

Each file is a list of entries, or a mapping with one list under any name. Names after a slash are
accepted as well. A text is a string, or a mapping with `text`.

- `levels.yaml`: `question` and the answers, as keys 1 to 5 or under `answers`/`levels`: a mapping
  of level to text, five texts from level 1 to 5, or mappings with `level` and `text`. Or an entry
  per answer, with `question`, `level` and `text`/`answer`. Optional: `points`, `misconceptions`.
- `pairs.yaml`: `class`/`kind`, `question`, `base`, `expect`, and what changes: `variant`/`changed`
  or `variant_question`/`changed_question`/`other_question`, or both. `expect` is one of same,
  lower, not_higher, higher, no_score, scored.
- `fragments.yaml`: a mapping of list name to texts, or entries with `class`/`kind`/`list` and
  `text`.
- `technical.yaml`: `question` (a text or an id of the question bank), `points` and
  `misconceptions` for a text, and the answers `right`, `partly`, `wrong`, `nonsense`, as keys or
  under `answers`, which may be a list of mappings with `kind`. A point or misconception is a
  mapping with `id` and `text`, or a text. Labels of an answer: `covers` or `covered`, `partly`,
  `contradicts` or `contradicted`, `misconceptions`.
- `languages.yaml`: `text`, and either `expect` (scored, refused, either), `refuse`/`refused` (true
  or false), `may_refuse`/`may_be_refused` (true or false), or `language`, where "en" is scored.
  Optional: `question`.
- `remarks.yaml`: a remark about an answer of `levels.yaml`: `question`, `level`, `text`, `quote`,
  and `is_true`, what a reader of the answer found. Only with `levels.yaml`.
- `probes.yaml`: a mapping with any of `metamorphic` (as `pairs.yaml`), `technical` (as
  `technical.yaml`) and `relevant` (`question`, `text`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import yaml

LEVELS = range(1, 6)
TECHNICAL_KINDS = ("right", "partly", "wrong", "nonsense")
_MAX_SHOWN_KEYS = 12
_FILES = ("levels", "pairs", "fragments", "technical", "languages", "remarks", "probes")

_Choice = TypeVar("_Choice", bound=StrEnum)


class InvalidSet(Exception):
    """A file does not have the documented format. The message names the file, entry and key."""


class Expectation(StrEnum):
    """How the score of a changed answer compares with that of its base."""

    SAME = "same"
    LOWER = "lower"
    NOT_HIGHER = "not_higher"
    HIGHER = "higher"
    NO_SCORE = "no_score"
    SCORED = "scored"


class Verdict(StrEnum):
    """Whether a text should get a score."""

    SCORED = "scored"
    REFUSED = "refused"
    EITHER = "either"


@dataclass(frozen=True, slots=True)
class Pair:
    """An answer and its change."""

    name: str
    question: str
    base: str
    changed_question: str
    changed: str
    expect: Expectation


@dataclass(frozen=True, slots=True)
class LanguageText:
    """A text, and whether it should get a score."""

    question: str
    text: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class RatedRemark:
    """A remark about an answer, and whether a reader found it true of the answer and the quote."""

    question: str
    level: int
    text: str
    quote: str
    is_true: bool


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of a file. `place` names both in messages."""

    place: str
    values: Mapping[Any, Any]

    def has(self, *keys: Any) -> bool:
        return any(self.values.get(key) is not None for key in keys)

    def value(self, *keys: Any) -> Any:
        """Return the value of the first key that is there. Raises InvalidSet if none is."""
        for key in keys:
            if self.values.get(key) is not None:
                return self.values[key]
        shown = ", ".join(map(str, list(self.values)[:_MAX_SHOWN_KEYS]))
        raise InvalidSet(f"{self.place}: needs {' or '.join(map(str, keys))}; it has {shown}")

    def text(self, *keys: Any) -> str:
        """Return the text of the first key that is there."""
        return _text(self.value(*keys), f"{self.place}: {'/'.join(map(str, keys))}")


def check_files(folder: Path) -> None:
    """Raise InvalidSet if the folder has no file of a set, or a YAML file of another name."""
    names = [file.name for file in sorted(folder.glob("*.y*ml"))]
    known = [f"{name}.yaml" for name in _FILES]
    others = [name for name in names if name not in known]
    if others or not names:
        raise InvalidSet(
            f"{folder} has {', '.join(others) or 'no set'}; known files: {', '.join(known)}"
        )


def load_levels(folder: Path) -> list[dict[Any, Any]]:
    """Return the entries of `levels.yaml`, with the answers as keys 1 to 5."""
    flat: dict[str, dict[Any, Any]] = {}
    found = []
    for entry in _entries(folder / "levels.yaml"):
        if entry.has("level"):
            question = entry.text("question")
            one = flat.setdefault(question, {"question": question})
            one[_level(entry.value("level"), entry.place)] = entry.text("text", "answer")
        else:
            found.append(_spread(entry))
    for question, one in flat.items():
        missing = [level for level in LEVELS if level not in one]
        if missing:
            raise InvalidSet(f"levels.yaml: no level {missing[0]} for {question!r}")
    return [*found, *flat.values()]


def _spread(entry: _Entry) -> dict[Any, Any]:
    found = {**entry.values, "question": entry.text("question")}
    answers: Any = entry.values
    if entry.has("answers", "levels"):
        answers = entry.value("answers", "levels")
    if isinstance(answers, Sequence) and not isinstance(answers, str):
        is_labelled = all(isinstance(one, Mapping) and "level" in one for one in answers)
        answers = {
            _level(one["level"] if is_labelled else number, entry.place): one
            for number, one in enumerate(answers, start=1)
        }
    if not isinstance(answers, Mapping):
        raise InvalidSet(f"{entry.place}: answers must be a mapping or a list")
    by_level = {str(key): value for key, value in answers.items()}
    given = _Entry(entry.place, by_level)
    return found | {level: given.text(str(level)) for level in LEVELS}


def _level(value: Any, place: str) -> int:
    if str(value) not in map(str, LEVELS):
        raise InvalidSet(f"{place}: level must be 1 to 5, not {value!r}")
    return int(value)


def load_pairs(folder: Path) -> list[Pair]:
    """Return the pairs of `pairs.yaml` and `probes.yaml`."""
    entries = _entries(folder / "pairs.yaml") + _probe_entries(folder, "metamorphic")
    return [_parse_pair(entry) for entry in entries]


def _parse_pair(entry: _Entry) -> Pair:
    changes = ("variant", "changed")
    questions = ("variant_question", "changed_question", "other_question")
    if not entry.has(*changes, *questions):
        entry.value(*changes, *questions)
    question, base = entry.text("question"), entry.text("base")
    return Pair(
        str(entry.value("class", "kind")),
        question,
        base,
        entry.text(*questions) if entry.has(*questions) else question,
        entry.text(*changes) if entry.has(*changes) else base,
        _choice(entry, Expectation, "expect"),
    )


def _choice(entry: _Entry, kind: type[_Choice], *keys: str) -> _Choice:
    value = str(entry.value(*keys)).strip().lower().replace(" ", "_")
    if value not in kind.__members__.values():
        known = ", ".join(kind)
        raise InvalidSet(f"{entry.place}: {keys[0]} must be one of {known}, not {value!r}")
    return kind(value)


def load_fragments(folder: Path) -> dict[str, list[str]]:
    """Return the lists of `fragments.yaml`."""
    file = folder / "fragments.yaml"
    data = _load(file)
    if data is None:
        return {}
    if isinstance(data, Mapping) and list(data) == ["fragments"]:
        data = data["fragments"]
    found: dict[str, list[str]] = {}
    if isinstance(data, Mapping):
        for name, texts in data.items():
            if not isinstance(texts, list):
                raise InvalidSet(f"{file.name}: {name} must be a list of texts")
            found[str(name)] = [
                _text(one, f"{file.name}: {name} {number}") for number, one in enumerate(texts, 1)
            ]
    else:
        for entry in _entries(file):
            found.setdefault(str(entry.value("class", "kind", "list")), []).append(
                entry.text("text")
            )
    return found


def load_technical(folder: Path) -> list[dict[str, Any]]:
    """Return the technical questions, with `answers` by kind and an id per point."""
    entries = _entries(folder / "technical.yaml") + _probe_entries(folder, "technical")
    return [_parse_technical(entry) for entry in entries]


def _parse_technical(entry: _Entry) -> dict[str, Any]:
    found = {**entry.values, "question": entry.text("question")}
    for name in ("points", "misconceptions"):
        if entry.has(name):
            found[name] = [
                dict(one) | {"id": str(one.get("id", number)), "text": _text(one, entry.place)}
                if isinstance(one, Mapping)
                else {"id": str(number), "text": _text(one, entry.place)}
                for number, one in enumerate(entry.value(name))
            ]
    answers = _Entry(entry.place, _by_kind(entry))
    answers.value(*TECHNICAL_KINDS)
    found["answers"] = {
        kind: _labelled(answers.value(kind), f"{entry.place}: {kind}")
        for kind in TECHNICAL_KINDS
        if answers.has(kind)
    }
    return found


def _by_kind(entry: _Entry) -> Mapping[Any, Any]:
    """Return the answers of a technical entry by kind."""
    answers = entry.value("answers") if entry.has("answers") else entry.values
    if isinstance(answers, Mapping):
        return answers
    return {one.values.get("kind"): one.values for one in _wrap(f"{entry.place}: answers", answers)}


def _labelled(value: Any, place: str) -> dict[str, Any]:
    labels = dict(value) if isinstance(value, Mapping) else {}
    for name, other in (("covers", "covered"), ("contradicts", "contradicted")):
        if other in labels:
            labels[name] = labels.pop(other)
    return labels | {"text": _text(value, place)}


def load_languages(folder: Path) -> list[LanguageText]:
    """Return the texts of `languages.yaml`."""
    return [_parse_language(entry) for entry in _entries(folder / "languages.yaml")]


def _parse_language(entry: _Entry) -> LanguageText:
    if entry.has("expect"):
        verdict = _choice(entry, Verdict, "expect")
    elif entry.has("refuse", "refused"):
        verdict = Verdict.REFUSED if _flag(entry, "refuse", "refused") else Verdict.SCORED
    elif entry.has("may_refuse", "may_be_refused"):
        is_allowed = _flag(entry, "may_refuse", "may_be_refused")
        verdict = Verdict.EITHER if is_allowed else Verdict.SCORED
    else:
        entry.value("expect", "refuse", "refused", "may_refuse", "may_be_refused", "language")
        verdict = Verdict.SCORED if entry.value("language") == "en" else Verdict.REFUSED
    question = "Tell me about a time you solved a problem."
    if entry.has("question"):
        question = entry.text("question")
    return LanguageText(question, entry.text("text", "answer"), verdict)


def _flag(entry: _Entry, *keys: str) -> bool:
    value = entry.value(*keys)
    if not isinstance(value, bool):
        raise InvalidSet(f"{entry.place}: {keys[0]} must be true or false, not {value!r}")
    return value


def load_remarks(folder: Path) -> list[RatedRemark]:
    """Return the entries of `remarks.yaml`."""
    return [
        RatedRemark(
            entry.text("question"),
            _level(entry.value("level"), entry.place),
            entry.text("text"),
            entry.text("quote"),
            _flag(entry, "is_true"),
        )
        for entry in _entries(folder / "remarks.yaml")
    ]


def load_relevant(folder: Path) -> list[tuple[str, str]]:
    """Return questions and vague answers that are relevant to them."""
    entries = _probe_entries(folder, "relevant")
    return [(entry.text("question"), entry.text("text")) for entry in entries]


def _entries(file: Path) -> list[_Entry]:
    data = _load(file)
    if data is None:
        return []
    if isinstance(data, Mapping):
        lists = [value for value in data.values() if isinstance(value, list)]
        if len(lists) != 1:
            raise InvalidSet(f"{file.name}: must be a list, or a mapping with exactly one list")
        (data,) = lists
    return _wrap(file.name, data)


def _probe_entries(folder: Path, name: str) -> list[_Entry]:
    data = _load(folder / "probes.yaml") or {}
    if not isinstance(data, Mapping):
        raise InvalidSet("probes.yaml: must be a mapping")
    return _wrap(f"probes.yaml: {name}", data.get(name, []))


def _wrap(place: str, data: Any) -> list[_Entry]:
    if not isinstance(data, list):
        raise InvalidSet(f"{place}: must be a list of entries")
    for number, one in enumerate(data, start=1):
        if not isinstance(one, Mapping):
            raise InvalidSet(f"{place}: entry {number} must be a mapping")
    return [
        _Entry(f"{place}: entry {number} ({one.get('id', 'no id')})", one)
        for number, one in enumerate(data, start=1)
    ]


def _load(file: Path) -> Any:
    return yaml.safe_load(file.read_text("utf-8")) if file.is_file() else None


def _text(value: Any, place: str) -> str:
    found = value.get("text") if isinstance(value, Mapping) else value
    if not isinstance(found, str) or not found.strip():
        raise InvalidSet(f"{place}: must be a text or a mapping with text")
    return found
