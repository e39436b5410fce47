"""The check for retired words."""

from collections.abc import Iterator

import check_words
import pytest
from check_words import Exemption, Rule, Text

RULES = [
    Rule(("away",), "unavailable"),
    Rule(("long", "way"), "slow path", frozenset({"name"})),
]
SOURCE = '''
"""A database that is away."""
log = get_logger(__name__)
USERS_AWAY = Counter("coach_users_away", "Users.", ["scope"])


class AwayError(Unavailable):
    def __init__(self):
        super().__init__("The store is away.")


def take_long_way(is_away):
    """Away is fine in prose."""
    log.info("redis.away", detail="away")
    other.info("away")
    if is_away:
        raise Unavailable(f"{name} is away") from None
    self.away_until = other.away
    return "away"
'''


def _lines(source: str, *exemptions: Exemption) -> list[str]:
    return check_words.check(check_words.python_texts("a/b.py", source), RULES, exemptions)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("snake_case_name", ["snake", "case", "name"]),
        ("CamelCaseName", ["camel", "case", "name"]),
        ("HTTPClient", ["http", "client"]),
        ("_SHORT_WAY2", ["short", "way"]),
        ("The database's away.", ["the", "database", "s", "away"]),
        ("", []),
    ],
)
def test_split_words(text: str, words: list[str]) -> None:
    assert check_words.split_words(text) == words


def test_docstrings_comments_and_documents_are_prose() -> None:
    rules = [Rule(("away",), "unavailable", frozenset({"prose"}))]
    module = '"""The store is away."""\nIS_AWAY = "away"  # away today\n'

    def check(path: str, source: str) -> list[str]:
        found = check_words.check(check_words.prose_texts(path, source), rules, ())
        return [line.split(" uses ")[0] for line in found]

    assert check("a.py", module) == ["a.py:1: 'The store is away.'", "a.py:2: '# away today'"]
    assert check("a.md", "# Store\n\nIt is away.\n") == ["a.md:3: 'It is away.'"]


def test_names_logs_errors_and_metrics_are_checked() -> None:
    found = {line.split(" uses ")[0].split(": ", 1)[1] for line in _lines(SOURCE)}

    assert found == {
        "'USERS_AWAY'", "'coach_users_away'", "'AwayError'", "'The store is away.'",
        "'take_long_way'", "'is_away'", "'redis.away'", "' is away'", "'away_until'",
    }  # fmt: skip


def test_docstrings_values_and_used_names_are_not_checked() -> None:
    source = '"""Away."""\nvalue = other.away\nother.info("away")\nprint("away", gone_away)\n'

    assert _lines(source) == []


def test_module_name_is_checked() -> None:
    texts = check_words.python_texts("a/long_way.py", "")

    assert len(check_words.check(texts, RULES, [])) == 1


def test_phrase_needs_all_its_words_in_order() -> None:
    assert _lines("way_long = long_value = 1") == []
    assert len(_lines("a_long_way_off = 1")) == 1


def test_rule_applies_to_its_kinds_only() -> None:
    texts = iter([Text("a", 1, "sentence", "the long way"), Text("a", 1, "name", "long_way")])

    assert [finding.where.kind for finding in check_words.find_words(texts, RULES)] == ["name"]


def test_rule_applies_to_its_paths_only() -> None:
    rule = Rule(("pause",), "backoff", paths=("libs/", "services/gateway/"))
    texts = [Text(path, 1, "name", "pause") for path in ("libs/a.py", "services/ai/a.py")]

    found = check_words.find_words(iter(texts), [rule])

    assert [finding.where.path for finding in found] == ["libs/a.py"]


@pytest.mark.parametrize(
    ("exemption", "is_covered"),
    [
        (Exemption(("away",), "why"), True),
        (Exemption(("away",), "why", path="a/"), True),
        (Exemption(("away",), "why", path="a/c.py"), False),
        (Exemption(("away",), "why", within=("far", "away", "day")), True),
        (Exemption(("away",), "why", within=("far", "day")), False),
        (Exemption(("long", "way"), "why"), False),
    ],
)
def test_exception_covers_its_word_path_and_context(exemption: Exemption, is_covered: bool) -> None:
    lines = _lines("one_far_away_day = 1", exemption)

    assert (lines == []) is is_covered


def test_unused_exception_is_reported() -> None:
    (line,) = _lines("fine = 1", Exemption(("away",), "why", path="a/b.py"))

    assert line == "words.toml: the exception for 'away' in 'a/b.py' matches nothing"


def test_openapi_ids_schema_names_and_descriptions_are_checked() -> None:
    document = {
        "info": {"description": "Sent while you were away."},
        "paths": {"/away": {"get": {"operationId": "getAway", "summary": "Get Away"}}},
        "components": {
            "schemas": {
                "AwayResponse": {
                    "properties": {"away": {"description": "fine", "example": "away"}},
                    "examples": [{"description": "away"}],
                }
            }
        },
    }
    texts = check_words.openapi_texts("openapi.json", document)

    assert [finding.where.text for finding in check_words.find_words(texts, RULES)] == [
        "Sent while you were away.", "getAway", "Get Away", "AwayResponse",
    ]  # fmt: skip


def test_words_file_is_read() -> None:
    document = {
        "retired": [{"words": ["away", "long way"], "instead": "x", "kinds": ["name"]}],
        "exception": [{"word": "long way", "within": "a_long way", "path": "p", "reason": "r"}],
    }

    assert [rule.phrase for rule in check_words.parse_rules(document)] == [
        ("away",), ("long", "way"),
    ]  # fmt: skip
    assert check_words.parse_exemptions(document) == [
        Exemption(("long", "way"), "r", "p", ("a", "long", "way"))
    ]


def test_every_exception_needs_a_reason() -> None:
    with pytest.raises(KeyError):
        check_words.parse_exemptions({"exception": [{"word": "away"}]})


def test_failing_check_exits_with_1_and_names_each_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def texts() -> Iterator[Text]:
        yield Text("a.py", 3, "name", "door")

    monkeypatch.setattr(check_words, "repository_texts", texts)

    assert check_words.main() == 1
    assert "a.py:3: 'door' uses 'door'" in capsys.readouterr().err
