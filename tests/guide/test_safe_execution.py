"""Section 7 of the guide: safe execution.

The guide's calls of `safe_execute` have a positional argument after a keyword, which Python refuses; here the arguments
follow the function and `default` comes last.
"""

from __future__ import annotations

import logging
from typing import Any

import pytest

from telemetrix.testing import VirtualClock

SAFE_EXECUTE = """
    from app.utils.error_recovery import safe_execute

    # Returns default on any error
    config = safe_execute(
        load_config,
        "production",
        default={"debug": False}
    )

    # With multiple arguments
    result = safe_execute(
        calculate_score,
        features,
        weights,
        bias,
        default=0.0
    )
"""

BATCH = """
    from app.utils.error_recovery import batch_with_retry

    def process_item(item):
        # May fail for some items
        return transform(item)

    successful, failed = batch_with_retry(
        items=data_items,
        process_func=process_item,
        batch_size=100,
        max_retries=3
    )

    logger.info(f"Processed {len(successful)}/{len(data_items)} items")
"""


def score(features: list[float], weights: list[float], bias: float) -> float:
    return sum(f * w for f, w in zip(features, weights, strict=True)) + bias


def test_safe_execute_success_returns_the_results(guide: Any) -> None:
    example = guide(
        SAFE_EXECUTE,
        load_config=lambda name: {"name": name},
        calculate_score=score,
        features=[1.0, 2.0],
        weights=[0.5, 0.25],
        bias=1.0,
    )
    assert example.config == {"name": "production"}
    assert example.result == 2.0


def test_safe_execute_any_error_returns_the_defaults(guide: Any) -> None:
    def load_config(name: str) -> None:
        raise FileNotFoundError(name)

    example = guide(
        SAFE_EXECUTE, load_config=load_config, calculate_score=score, features=[1.0], weights=[1.0, 2.0], bias=0.0
    )
    assert example.config == {"debug": False}
    assert example.result == 0.0


def test_safe_batch_processing_every_item_succeeds_has_no_failed(guide: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "guide"):
        example = guide(
            BATCH, data_items=range(250), transform=lambda item: item * 2, logger=logging.getLogger("guide")
        )
    assert example.successful == [item * 2 for item in range(250)]
    assert example.failed == []
    assert caplog.messages == ["Processed 250/250 items"]


def test_safe_batch_processing_items_that_fail_are_apart_from_those_that_succeed(guide: Any) -> None:
    def transform(item: int) -> int:
        if item % 100 == 7:
            raise ValueError(item)
        return item

    example = guide(BATCH, data_items=list(range(250)), transform=transform)
    assert len(example.successful) == 247
    assert [item.item for item in example.failed] == [7, 107, 207]
    assert [item.error.args for item in example.failed] == [(7,), (107,), (207,)]


def test_safe_batch_processing_item_is_retried_three_times(guide: Any, telemetrix_clock: VirtualClock) -> None:
    runs: dict[str, int] = {}

    def transform(item: str) -> str:
        runs[item] = runs.get(item, 0) + 1
        if item == "hopeless" or (item == "flaky" and runs[item] <= 3):
            raise ConnectionError
        return item

    example = guide(BATCH, data_items=["good", "flaky", "hopeless"], transform=transform)
    assert runs == {"good": 1, "flaky": 4, "hopeless": 4}
    assert example.successful == ["good", "flaky"]
    assert [item.item for item in example.failed] == ["hopeless"]
    assert len(telemetrix_clock.sleeps) == 6
