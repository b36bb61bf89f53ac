"""The note (PEP 678) that tells the reader of a traceback what telemetrix did with the exception."""

from __future__ import annotations

from typing import Final

_PREFIX: Final = "telemetrix: "


def note(error: BaseException, operation: str, text: str) -> None:
    """Add a note to an exception, in place of an earlier one about the same operation.

    An exception object that a function raises again and again would otherwise collect a note per call.
    """
    start = f"{_PREFIX}{operation} "
    notes = getattr(error, "__notes__", None)
    if notes:
        notes[:] = [line for line in notes if not (isinstance(line, str) and line.startswith(start))]
    error.add_note(start + text)
