"""Backoff: the documented sequences, the cap, and the bounds of each jitter."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import islice, pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetrix._core.backoff import Backoff, Jitter, RetryStrategy, Uniform

PLAIN: Final = Backoff(1.0, 2.0, RetryStrategy.EXPONENTIAL, Jitter.NONE, 300.0)

delays = st.floats(min_value=1e-3, max_value=1e3)
factors = st.floats(min_value=1.0, max_value=10.0)
attempts = st.integers(min_value=1, max_value=5_000)
fractions = st.floats(min_value=0.0, max_value=1.0)


def at(fraction: float) -> Uniform:
    """Draws the number that far between the bounds."""
    return lambda low, high: low + (high - low) * fraction


def no_jitter(low: float, high: float) -> float:
    raise AssertionError(f"asked for a number between {low} and {high}")


def waits(backoff: Backoff, count: int) -> list[float]:
    """The waits after the first `count` attempts, drawn from the real random module."""
    previous, found = 0.0, []
    for attempt in range(1, count + 1):
        previous = backoff.wait_after(attempt, previous, random.uniform)
        found.append(previous)
    return found


@pytest.mark.parametrize(
    ("strategy", "delay", "expected"),
    [
        (RetryStrategy.LINEAR, 2.0, [2.0, 4.0, 6.0, 8.0, 10.0]),
        (RetryStrategy.FIXED, 5.0, [5.0, 5.0, 5.0]),
        (RetryStrategy.FIBONACCI, 1.0, [1.0, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0]),
        (RetryStrategy.EXPONENTIAL, 1.0, [1.0, 2.0, 4.0, 8.0]),
    ],
)
def test_backoff__each_strategy_without_jitter__waits_exactly_what_the_guide_says(
    strategy: RetryStrategy, delay: float, expected: list[float]
) -> None:
    backoff = replace(PLAIN, delay=delay, strategy=strategy)
    assert [backoff.wait_after(n, 0.0, no_jitter) for n in range(1, len(expected) + 1)] == expected


def test_backoff__exponential_with_factor_3__multiplies_by_3() -> None:
    assert waits(replace(PLAIN, factor=3.0, delay=0.5), 4) == [0.5, 1.5, 4.5, 13.5]


def test_backoff__exponential_with_factor_1__stays_at_the_delay() -> None:
    assert waits(replace(PLAIN, factor=1.0), 3) == [1.0, 1.0, 1.0]


def test_backoff__fibonacci_with_delay_2__scales_the_sequence() -> None:
    assert waits(replace(PLAIN, delay=2.0, strategy=RetryStrategy.FIBONACCI), 6) == [2.0, 2.0, 4.0, 6.0, 10.0, 16.0]


@pytest.mark.parametrize("jitter", list(Jitter))
@pytest.mark.parametrize("strategy", list(RetryStrategy))
def test_backoff__zero_delay__never_waits_and_draws_no_number(strategy: RetryStrategy, jitter: Jitter) -> None:
    backoff = replace(PLAIN, delay=0.0, strategy=strategy, jitter=jitter)
    assert [backoff.wait_after(n, 0.0, no_jitter) for n in (1, 2, 5_000)] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (RetryStrategy.EXPONENTIAL, [1.0, 2.0, 4.0, 5.0, 5.0]),
        (RetryStrategy.LINEAR, [1.0, 2.0, 3.0, 4.0, 5.0, 5.0]),
        (RetryStrategy.FIBONACCI, [1.0, 1.0, 2.0, 3.0, 5.0, 5.0]),
        (RetryStrategy.FIXED, [1.0, 1.0]),
    ],
)
def test_backoff__past_max_delay__waits_max_delay(strategy: RetryStrategy, expected: list[float]) -> None:
    assert waits(replace(PLAIN, strategy=strategy, max_delay=5.0), len(expected)) == expected


@pytest.mark.parametrize("strategy", list(RetryStrategy))
def test_backoff__attempt_5000__does_not_overflow(strategy: RetryStrategy) -> None:
    wait = replace(PLAIN, strategy=strategy, factor=10.0).wait_after(5_000, 0.0, no_jitter)
    assert wait == (1.0 if strategy is RetryStrategy.FIXED else 300.0)


def test_backoff__fibonacci_at_a_huge_attempt__stops_counting_at_the_cap() -> None:
    backoff = replace(PLAIN, strategy=RetryStrategy.FIBONACCI)
    assert backoff.wait_after(10**18, 0.0, no_jitter) == 300.0


@pytest.mark.parametrize("jitter", [Jitter.FULL, Jitter.EQUAL])
def test_backoff__jitter_at_the_cap__is_drawn_after_the_cap(jitter: Jitter) -> None:
    # The other way round, every client whose wait has reached the cap waits the same time and they return together.
    drawn = {replace(PLAIN, jitter=jitter, max_delay=5.0).wait_after(50, 0.0, random.uniform) for _ in range(1_000)}
    assert len(drawn) > 990
    assert max(drawn) <= 5.0


def test_backoff__decorrelated_at_the_cap__is_drawn_after_the_cap() -> None:
    backoff = replace(PLAIN, jitter=Jitter.DECORRELATED, max_delay=5.0)
    drawn = {backoff.wait_after(50, 5.0, random.uniform) for _ in range(1_000)}
    assert len(drawn) > 990


@given(delays, factors, attempts, fractions, st.sampled_from(RetryStrategy))
def test_full_jitter__any_draw__is_between_0_and_the_wait(
    delay: float, factor: float, attempt: int, fraction: float, strategy: RetryStrategy
) -> None:
    plain = Backoff(delay, factor, strategy, Jitter.NONE, max(300.0, delay))
    wait = plain.wait_after(attempt, 0.0, no_jitter)
    drawn = replace(plain, jitter=Jitter.FULL).wait_after(attempt, 0.0, at(fraction))
    assert 0.0 <= drawn <= wait
    assert drawn == wait * fraction


@given(delays, factors, attempts, fractions, st.sampled_from(RetryStrategy))
def test_equal_jitter__any_draw__is_between_half_the_wait_and_the_wait(
    delay: float, factor: float, attempt: int, fraction: float, strategy: RetryStrategy
) -> None:
    plain = Backoff(delay, factor, strategy, Jitter.NONE, max(300.0, delay))
    wait = plain.wait_after(attempt, 0.0, no_jitter)
    equal = replace(plain, jitter=Jitter.EQUAL)
    drawn = equal.wait_after(attempt, 0.0, at(fraction))
    assert wait / 2 <= drawn <= wait


@given(delays, st.lists(fractions, min_size=1, max_size=50))
def test_decorrelated_jitter__any_draws__stay_between_the_delay_and_three_times_the_last_wait(
    delay: float, drawn_fractions: list[float]
) -> None:
    backoff = Backoff(delay, 2.0, RetryStrategy.EXPONENTIAL, Jitter.DECORRELATED, max(300.0, delay))
    previous = 0.0
    for attempt, fraction in enumerate(drawn_fractions, 1):
        wait = backoff.wait_after(attempt, previous, at(fraction))
        assert delay <= wait <= min(backoff.max_delay, 3 * max(previous, delay)) * (1 + 1e-9)
        previous = wait


@given(delays, factors, st.sampled_from(RetryStrategy), st.sampled_from(Jitter), attempts)
def test_backoff__any_setting_at_any_attempt__is_finite_not_negative_and_capped(
    delay: float, factor: float, strategy: RetryStrategy, jitter: Jitter, attempt: int
) -> None:
    backoff = Backoff(delay, factor, strategy, jitter, max(300.0, delay))
    wait = backoff.wait_after(attempt, backoff.max_delay, random.uniform)
    assert math.isfinite(wait)
    assert 0.0 <= wait <= backoff.max_delay


@given(delays, factors, st.sampled_from(RetryStrategy))
def test_backoff__without_jitter__never_gets_shorter(delay: float, factor: float, strategy: RetryStrategy) -> None:
    backoff = Backoff(delay, factor, strategy, Jitter.NONE, max(300.0, delay))
    sequence = (backoff.wait_after(attempt, 0.0, no_jitter) for attempt in range(1, 1_000))
    assert all(earlier <= later for earlier, later in pairwise(islice(sequence, 100)))
