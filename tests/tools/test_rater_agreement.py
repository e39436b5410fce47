"""The agreement of raters, against the worked example of Shrout and Fleiss (1979)."""

import runpy
from pathlib import Path

import pytest

TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "rater_agreement.py"))
EXAMPLE = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


def test_intraclass_correlation_matches_the_published_example() -> None:
    assert TOOL["intraclass_correlation"](EXAMPLE) == pytest.approx((0.29, 0.62), abs=0.005)


def test_sheet_leaves_out_incomplete_rows(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("answer,rater_a,rater_b,score\na,1,2,30\nb,3,,50\nc,4,5,80\n", "utf-8")

    assert TOOL["read_sheet"](sheet) == ([[1.0, 2.0], [4.0, 5.0]], [30.0, 80.0])


def test_rank_correlation_of_equal_order_is_one() -> None:
    assert TOOL["rank_correlation"]([20, 50, 50, 90], [1, 3, 3, 5]) == pytest.approx(1.0)
