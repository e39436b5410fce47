"""Delivery: how many delivery metrics lie outside their usual range."""

from collections.abc import Mapping


def delivery_level(metrics: Mapping[str, object]) -> int | None:
    """Return the level: 5 minus the metrics outside their band, at least 1.

    None if delivery could not be measured.
    """
    if "status" in metrics:
        return None
    outside = sum(
        isinstance(metric, dict) and metric["verdict"] in ("below", "above")
        for metric in metrics.values()
    )
    return max(1, 5 - outside)
