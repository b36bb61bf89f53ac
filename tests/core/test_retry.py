"""RetryRule: after each failure, the wait before the next attempt or the reason to stop."""

from __future__ import annotations

from typing import Any

import pytest

from telemetrix._core.backoff import Backoff, Jitter, RetryStrategy
from telemetrix._core.outcomes import Reason
from telemetrix._core.retry import RetryRule


class RejectedError(Exception):
    """Stands for telemetrix's own rejections."""


class ParticularRejectedError(RejectedError):
    pass


def no_jitter(low: float, high: float) -> float:
    raise AssertionError(f"asked for a number between {low} and {high}")


def make_rule(
    max_attempts: int = 3, *exceptions: type[BaseException], delay: float = 1.0, jitter: Jitter = Jitter.NONE
) -> RetryRule:
    backoff = Backoff(delay, 2.0, RetryStrategy.EXPONENTIAL, jitter, 300.0)
    return RetryRule(max_attempts, backoff, exceptions or (Exception,), (RejectedError,))


def after(rule: RetryRule, error: BaseException, attempt: int = 1, **given: Any) -> float | Reason:
    settings: dict[str, Any] = {"previous_wait": 0.0, "now": 100.0, "deadline": None, "uniform": no_jitter, **given}
    return rule.after_failure(error, attempt=attempt, **settings)


def test_retry_rule__attempts_left__answers_with_the_backoffs_wait() -> None:
    rule = make_rule(4)
    assert [after(rule, ValueError(), attempt) for attempt in (1, 2, 3)] == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("attempt", [3, 4])
def test_retry_rule__last_attempt_failed__is_exhausted(attempt: int) -> None:
    assert after(make_rule(3), ValueError(), attempt) is Reason.EXHAUSTED


def test_retry_rule__one_attempt_allowed__is_exhausted_at_once() -> None:
    assert after(make_rule(1), ValueError()) is Reason.EXHAUSTED


def test_retry_rule__error_of_another_class__is_not_retryable() -> None:
    assert after(make_rule(3, ConnectionError, TimeoutError), ValueError()) is Reason.NOT_RETRYABLE


def test_retry_rule__last_attempt_failed_with_another_class__is_not_retryable_rather_than_exhausted() -> None:
    assert after(make_rule(3, ConnectionError), ValueError(), 3) is Reason.NOT_RETRYABLE


def test_retry_rule__subclass_of_a_named_class__is_retried() -> None:
    assert after(make_rule(3, ConnectionError), ConnectionResetError()) == 1.0


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), GeneratorExit(), BaseException()])
def test_retry_rule__what_is_no_exception__is_not_retryable(error: BaseException) -> None:
    assert after(make_rule(3), error) is Reason.NOT_RETRYABLE


@pytest.mark.parametrize("named", [(Exception,), (ValueError, Exception), (RuntimeError,)])
def test_retry_rule__rejection_that_is_not_named__is_not_retryable(named: tuple[type[Exception], ...]) -> None:
    assert after(make_rule(3, *named), RejectedError()) is Reason.NOT_RETRYABLE


@pytest.mark.parametrize(
    ("named", "error", "retried"),
    [
        ((RejectedError,), RejectedError(), True),
        ((RejectedError,), ParticularRejectedError(), True),
        ((ParticularRejectedError,), ParticularRejectedError(), True),
        ((ParticularRejectedError,), RejectedError(), False),
        ((Exception, ParticularRejectedError), ParticularRejectedError(), True),
        ((Exception, ParticularRejectedError), RejectedError(), False),
    ],
)
def test_retry_rule__rejection__is_retried_only_when_its_class_is_named(
    named: tuple[type[Exception], ...], error: Exception, retried: bool
) -> None:
    assert make_rule(3, *named).retries(error) is retried


@pytest.mark.parametrize(
    ("deadline", "expected"),
    [
        (None, 1.0),
        (101.5, 1.0),
        (101.0, Reason.DEADLINE),  # a wait that ends at the deadline leaves no time for the attempt
        (100.5, Reason.DEADLINE),
        (99.0, Reason.DEADLINE),
    ],
)
def test_retry_rule__deadline__stops_before_a_wait_that_would_reach_it(
    deadline: float | None, expected: float | Reason
) -> None:
    assert after(make_rule(3), ValueError(), deadline=deadline) == expected


def test_retry_rule__deadline_passed_and_no_delay__stops() -> None:
    assert after(make_rule(3, delay=0.0), ValueError(), deadline=100.0) is Reason.DEADLINE


def test_retry_rule__jitter__is_drawn_from_the_given_source() -> None:
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return high / 4

    assert after(make_rule(3, jitter=Jitter.FULL), ValueError(), 2, uniform=uniform) == 0.5
    assert asked == [(0.0, 2.0)]


def test_retry_rule__decorrelated_jitter__starts_from_the_previous_wait() -> None:
    rule = make_rule(5, jitter=Jitter.DECORRELATED)
    assert after(rule, ValueError(), 2, previous_wait=4.0, uniform=lambda low, high: low + high) == 13.0
