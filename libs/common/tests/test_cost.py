"""The comparison of a function's cost with the length of its text."""

from coach_common.testing.cost import is_linear

TEXT = "a" * 40_000


def test_linear_cost_is_accepted() -> None:
    assert is_linear(lambda text: [character.upper() for character in text], TEXT)


def test_quadratic_cost_is_found() -> None:
    assert not is_linear(lambda text: [text.count("b") for _ in range(0, len(text), 40)], TEXT)
