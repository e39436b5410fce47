"""Agreement of human raters with each other and with the scores. See `docs/rating.md`.

`python tools/rater_agreement.py sheet.csv`
"""

import csv
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path


def read_sheet(file: Path) -> tuple[list[list[float]], list[float]]:
    """Return the ratings (answers, raters) and the scores of the answers without empty cells."""
    with file.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if all(row.values())]
    raters = [name for name in rows[0] if name not in ("answer", "score")]
    ratings = [[float(row[name]) for name in raters] for row in rows]
    return ratings, [float(row["score"]) for row in rows]


def intraclass_correlation(ratings: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Return ICC(2,1) and ICC(2,k): two-way random effects, absolute agreement.

    Formulas of Shrout and Fleiss (1979). Needs two answers and two raters.
    """
    answers, raters = len(ratings), len(ratings[0])
    mean = statistics.fmean(value for row in ratings for value in row)
    by_answer = [statistics.fmean(row) for row in ratings]
    by_rater = [statistics.fmean(row[at] for row in ratings) for at in range(raters)]
    total = sum((value - mean) ** 2 for row in ratings for value in row)
    between_answers = raters * sum((one - mean) ** 2 for one in by_answer)
    between_raters = answers * sum((one - mean) ** 2 for one in by_rater)
    error = (total - between_answers - between_raters) / ((answers - 1) * (raters - 1))
    answers_square = between_answers / (answers - 1)
    raters_square = between_raters / (raters - 1)
    rater_part = (raters_square - error) / answers
    single = (answers_square - error) / (
        answers_square + (raters - 1) * error + raters * rater_part
    )
    mean_of_raters = (answers_square - error) / (answers_square + rater_part)
    return single, mean_of_raters


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Spearman's rank correlation. Ties share their mean rank."""
    return statistics.correlation(_ranks(first), _ranks(second))


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered.index(one) + (ordered.count(one) - 1) / 2 for one in values]


def main() -> None:
    """Print the agreement in the sheet that the argument names."""
    ratings, scores = read_sheet(Path(sys.argv[1]))
    single, of_mean = intraclass_correlation(ratings)
    by_answer = [statistics.fmean(row) for row in ratings]
    print(f"answers {len(ratings)}, raters {len(ratings[0])}")
    print(f"ICC(2,1) {single:.2f}  ICC(2,k) {of_mean:.2f}")
    print(f"Spearman's rho of scores and mean ratings {rank_correlation(scores, by_answer):.2f}")


if __name__ == "__main__":
    main()
