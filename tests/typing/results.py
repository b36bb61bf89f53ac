# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""The types of what `safe_execute`, `batch_with_retry` and `fallback` give back; see `api.py` for the conventions."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, assert_type

from telemetrix import FailedItem, batch_with_retry, fallback, safe_execute


def plain(a: int) -> float:
    return 1.0


async def coroutine(a: int) -> float:
    return 1.0


def load(name: str) -> dict[str, int]:
    return {}


class Record:
    def __init__(self, a: int) -> None:
        pass


# batch_with_retry


def batch_of_a_plain_function(appended: list[int]) -> None:
    assert_type(batch_with_retry([1], plain), tuple[list[float], list[FailedItem]])
    assert_type(batch_with_retry(items=iter([1]), process_func=plain), tuple[list[float], list[FailedItem]])
    assert_type(batch_with_retry([1], Record), tuple[list[Record], list[FailedItem]])
    assert_type(batch_with_retry(["1"], int), tuple[list[int], list[FailedItem]])
    assert_type(batch_with_retry(["1"], partial(int, base=10)), tuple[list[int], list[FailedItem]])
    assert_type(batch_with_retry([1], lambda item: item * 2), tuple[list[int], list[FailedItem]])
    assert_type(batch_with_retry([1], lambda item: appended.append(item + 1)), tuple[list[None], list[FailedItem]])
    assert_type(batch_with_retry([], plain), tuple[list[float], list[FailedItem]])
    _, failed = batch_with_retry([1], plain, on_progress=lambda processed, failed: processed + failed)
    assert_type(failed[0].error, Exception)
    assert_type(failed[0].index, int)
    batch_with_retry(["a"], plain)  # type: ignore[arg-type, unused-coroutine]


async def batch_of_a_coroutine_function() -> None:
    successful, failed = await batch_with_retry([1], coroutine, concurrency=3)
    assert_type(successful, list[float])
    assert_type(failed, list[FailedItem])
    successful, failed = batch_with_retry([1], coroutine)  # type: ignore[misc]


def batch_of_an_untyped_function() -> None:
    # Wanted: Any of both checkers, for nobody can know whether it is a coroutine function. pyright says a coroutine.
    result = batch_with_retry(["{}"], json.loads)
    assert_type(result, Any)  # pyright: ignore[reportAssertTypeFailure, reportUnusedCoroutine]


# safe_execute


def safe_execute_of_a_plain_function() -> None:
    # Wanted: `float | None`, `float`, `float | str`, `dict[str, int]`, `dict[str, int] | dict[str, bool]`.
    assert_type(safe_execute(plain, 1), Any)
    assert_type(safe_execute(plain, 1, default=0.0), Any)
    assert_type(safe_execute(plain, 1, default="none"), Any)
    assert_type(safe_execute(load, "production", default={}), Any)
    assert_type(safe_execute(load, "production", default={"debug": False}), Any)
    assert_type(safe_execute(json.loads, "{}", default={}), Any)


async def safe_execute_of_a_coroutine_function() -> None:
    # Wanted: `float | None`, `float | str`.
    assert_type(await safe_execute(coroutine, 1), Any)
    assert_type(await safe_execute(coroutine, 1, default="none"), Any)


# fallback: the function keeps its type, so the answer has to fit it. Only None is seen not to.


async def fallback_of_none() -> None:
    # Wanted: `float | None`, twice.
    assert_type(fallback(None)(plain)(1), float)
    assert_type(await fallback(None)(coroutine)(1), float)
