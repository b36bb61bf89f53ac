"""How long to wait before the next attempt: a sequence, a cap, then jitter."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

Uniform = Callable[[float, float], float]
"""Draws a number between two bounds, as `random.uniform` does."""


class RetryStrategy(StrEnum):
    """The sequence of waits, in units of `delay`."""

    EXPONENTIAL = "exponential"
    """1, 2, 4, 8, … (with the default `backoff` of 2)."""
    LINEAR = "linear"
    """1, 2, 3, 4, 5, …"""
    FIXED = "fixed"
    """1, 1, 1, …"""
    FIBONACCI = "fibonacci"
    """1, 1, 2, 3, 5, 8, 13, …"""


class Jitter(StrEnum):
    """How a wait is spread so that clients that failed together do not come back together.

    Definitions: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    NONE = "none"
    FULL = "full"
    """Anything between 0 and the wait."""
    EQUAL = "equal"
    """Half of the wait, and anything up to the other half."""
    DECORRELATED = "decorrelated"
    """Anything between `delay` and three times the previous wait, capped; the strategy's sequence is not used."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """The waits between attempts.

    Capped first and jittered after, so that clients stay spread out even when every wait has reached the cap.

    Parameters:
        delay: the unit of the sequence, seconds; 0 means "at once".
        factor: what EXPONENTIAL multiplies by from one wait to the next.
        strategy: the sequence.
        jitter: how a wait is spread.
        max_delay: no wait is longer, seconds.
    """

    delay: float
    factor: float
    strategy: RetryStrategy
    jitter: Jitter
    max_delay: float

    def wait_after(self, attempt: int, previous: float, uniform: Uniform) -> float:
        """Seconds to wait after the given failed attempt (1-based); `previous` is the wait before it, or 0."""
        if self.delay == 0:
            return 0.0
        if self.jitter is Jitter.DECORRELATED:
            return uniform(self.delay, min(self.max_delay, 3 * max(previous, self.delay)))
        wait = min(self.max_delay, self._unjittered(attempt))
        if self.jitter is Jitter.FULL:
            return uniform(0.0, wait)
        if self.jitter is Jitter.EQUAL:
            return wait / 2 + uniform(0.0, wait / 2)
        return wait

    def _unjittered(self, attempt: int) -> float:
        match self.strategy:
            case RetryStrategy.EXPONENTIAL:
                return self._exponential(attempt)
            case RetryStrategy.LINEAR:
                return self.delay * attempt
            case RetryStrategy.FIXED:
                return self.delay
            case RetryStrategy.FIBONACCI:
                return self._fibonacci(attempt)

    def _exponential(self, attempt: int) -> float:
        try:
            return self.delay * math.pow(self.factor, attempt - 1)
        except OverflowError:
            return self.max_delay

    def _fibonacci(self, attempt: int) -> float:
        # Stops at the cap, so that attempt 5,000 costs no more than attempt 20.
        current, following = self.delay, self.delay
        for _ in range(attempt - 1):
            if current >= self.max_delay:
                break
            current, following = following, current + following
        return current
