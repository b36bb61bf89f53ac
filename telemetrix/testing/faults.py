"""Functions that fail on cue."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any


class Script:
    """A function that does one thing after the other: raises what is an exception, returns what is not.

    Past the end of the script it repeats the last entry. Safe to call from many threads.

    Parameters:
        outcomes: exceptions (or exception classes) and results, one per call; at least one.

    Attributes:
        calls: how often it was called.
    """

    def __init__(self, outcomes: Iterable[Any]) -> None:
        self._outcomes = list(outcomes)
        if not self._outcomes:
            raise ValueError("outcomes=[] is not allowed: one entry or more")
        self.calls: int = 0
        self._lock = threading.Lock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do the next thing; the arguments are ignored."""
        del args, kwargs
        with self._lock:
            outcome: Any = self._outcomes[min(self.calls, len(self._outcomes) - 1)]
            self.calls += 1
        if _is_exception(outcome):
            raise outcome
        return outcome

    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        """The same, as a coroutine function."""
        return self(*args, **kwargs)


def _is_exception(outcome: object) -> bool:
    return isinstance(outcome, BaseException) or (isinstance(outcome, type) and issubclass(outcome, BaseException))
