"""Whether a failed attempt is followed by another one."""

from __future__ import annotations

from dataclasses import dataclass

from telemetrix._core.backoff import Backoff, Uniform
from telemetrix._core.outcomes import Reason


@dataclass(frozen=True, slots=True)
class RetryRule:
    """The settings of one retry, and the decision after each failure.

    Parameters:
        max_attempts: runs of the function, the first included.
        backoff: the waits between them.
        exceptions: what is retried.
        rejections: telemetrix's own rejections (an open circuit, …): the function never ran, so trying again at once
            cannot help. Not retried unless `exceptions` names one of these classes itself.
    """

    max_attempts: int
    backoff: Backoff
    exceptions: tuple[type[BaseException], ...]
    rejections: tuple[type[BaseException], ...] = ()

    def after_failure(
        self,
        error: BaseException,
        *,
        attempt: int,
        previous_wait: float,
        now: float,
        deadline: float | None,
        uniform: Uniform,
    ) -> float | Reason:
        """The wait before the next attempt in seconds, or the reason to stop.

        Parameters:
            error: what the attempt raised.
            attempt: its number, 1-based.
            previous_wait: the wait before it, seconds; 0 for the first.
            now: the clock, seconds.
            deadline: when the caller's time is up on the same clock; None if it never is.
            uniform: where the jitter comes from.
        """
        if not self.retries(error):
            return Reason.NOT_RETRYABLE
        if attempt >= self.max_attempts:
            return Reason.EXHAUSTED
        wait = self.backoff.wait_after(attempt, previous_wait, uniform)
        if deadline is not None and now + wait >= deadline:
            return Reason.DEADLINE
        return wait

    def retries(self, error: BaseException) -> bool:
        """Whether this kind of error is retried at all."""
        if not isinstance(error, self.exceptions):
            return False
        if isinstance(error, self.rejections):
            return any(issubclass(named, self.rejections) and isinstance(error, named) for named in self.exceptions)
        return True
