"""The exceptions: one tree, texts that help, attributes that survive a journey to another process."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Final

import pytest

from telemetrix import (
    CallRejectedError,
    CircuitOpenError,
    MissingExtraError,
    OperationTimeout,
    TelemetrixError,
    errors,
)

EXAMPLES: Final[list[TelemetrixError]] = [
    TelemetrixError("anything"),
    CallRejectedError("limiter"),
    CallRejectedError("limiter", 1.5),
    CircuitOpenError("payments"),
    CircuitOpenError("payments", "half_open", 2.5, ConnectionError),
    OperationTimeout("pay", 3.0),
    OperationTimeout("pay", 3.0, abandoned=True),
    MissingExtraError("the demo", "demo"),
]


def by_pickle(error: TelemetrixError) -> object:
    return pickle.loads(pickle.dumps(error))  # noqa: S301 - pickled one line ago


@pytest.mark.parametrize("travel", [by_pickle, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("error", EXAMPLES, ids=repr)
def test_error__is_pickled_or_copied__keeps_class_text_and_attributes(
    error: TelemetrixError, travel: Callable[[TelemetrixError], object]
) -> None:
    arrived = travel(error)
    assert type(arrived) is type(error)
    assert isinstance(arrived, TelemetrixError)
    assert (str(arrived), arrived.args, vars(arrived)) == (str(error), error.args, vars(error))


@pytest.mark.parametrize(
    "error",
    [
        CircuitOpenError("payments"),
        OperationTimeout("pay", 3.0),
        MissingExtraError("the demo", "demo"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error__with_a_note_is_pickled__keeps_the_note(error: TelemetrixError) -> None:
    error.add_note("gave up")
    arrived = by_pickle(error)
    assert isinstance(arrived, TelemetrixError)
    assert getattr(arrived, "__notes__", None) == ["gave up"]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (CircuitOpenError("payments"), "Circuit breaker is OPEN: 'payments' lets no call through"),
        (
            CircuitOpenError("pay", "open", 12.345, ConnectionError),
            "Circuit breaker is OPEN: 'pay' lets no call through; retry after 12.3 s; last failure: ConnectionError",
        ),
        (
            CircuitOpenError("payments", "half_open", 0.0),
            "Circuit breaker is OPEN: 'payments' lets no call through while a probe is under way; retry after 0 s",
        ),
        (OperationTimeout("pay", 0.25), "pay did not finish within 0.25 s"),
        (
            OperationTimeout("pay", 2.0, abandoned=True),
            "pay did not finish within 2 s; its work goes on in an abandoned thread",
        ),
        (
            MissingExtraError("the demo", "demo"),
            "the demo needs an optional dependency: pip install 'telemetrix-resilience[demo]'",
        ),
    ],
)
def test_error__text__says_what_happened_and_what_to_do(error: TelemetrixError, text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize("error", [CircuitOpenError("payments", "open", 3600.0), OperationTimeout("pay", 3600.0)])
def test_error__long_time__is_written_without_an_exponent(error: TelemetrixError) -> None:
    assert "3600 s" in str(error)


def test_error__attributes__are_what_a_handler_needs() -> None:
    rejected = CircuitOpenError("payments", "half_open", 2.5, KeyError)
    assert (rejected.name, rejected.state, rejected.retry_after, rejected.last_error_type) == (
        "payments",
        "half_open",
        2.5,
        KeyError,
    )
    timed_out = OperationTimeout("pay", 3.0, abandoned=True)
    assert (timed_out.operation, timed_out.seconds, timed_out.abandoned) == ("pay", 3.0, True)
    missing = MissingExtraError("the demo", "demo")
    assert (missing.part, missing.extra) == ("the demo", "demo")


def test_error__classes__can_be_caught_as_what_they_are() -> None:
    assert issubclass(CircuitOpenError, CallRejectedError)
    assert issubclass(OperationTimeout, TimeoutError)
    assert issubclass(MissingExtraError, ImportError)


def test_error_tree__in_the_docstring__has_every_class_and_its_bases() -> None:
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]
    assert all(issubclass(kind, TelemetrixError) for kind in classes)
    drawn = [line for line in (errors.__doc__ or "").splitlines() if line.startswith("    ")]
    assert len(drawn) == len(classes)
    for kind in classes:
        (line,) = [line for line in drawn if kind.__name__ in line.split()]
        foreign = [base for base in kind.__bases__ if base not in classes and base is not Exception]
        assert all(base.__name__ in line for base in foreign)
        depth = len(kind.__mro__) - len(TelemetrixError.__mro__) if not foreign else 1
        assert (line.index(kind.__name__) - 4) // 4 == depth
