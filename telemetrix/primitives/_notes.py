"""The note (PEP 678) that tells the reader of a traceback what telemetrix did with the exception."""

from __future__ import annotations

import contextlib
import math

from telemetrix._core.units import seconds_text


def note_giving_up(error: BaseException, operation: str, attempts: int, elapsed: float, reason: str) -> None:
    """Say on an exception that its retry gave up, in place of an earlier such note about the same operation.

    An exception object that a function raises again and again would otherwise collect a note per call. An exception
    that takes no notes is left as it is. `elapsed` is NaN where nobody measured it.
    """
    start = f"telemetrix: {operation} gave up after "
    plural = "" if attempts == 1 else "s"
    time = "" if math.isnan(elapsed) else f" in {seconds_text(elapsed)}"
    with contextlib.suppress(Exception):
        notes = getattr(error, "__notes__", None)
        if notes:
            notes[:] = [line for line in notes if not (isinstance(line, str) and line.startswith(start))]
        error.add_note(f"{start}{attempts} attempt{plural}{time}: {reason}")
