"""How durations are written for people."""

from __future__ import annotations


def seconds_text(seconds: float) -> str:
    """A duration as text: never in scientific notation, and no more digits than matter."""
    if seconds >= 100:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + " s" if seconds >= 0.001 or not seconds else "under 0.001 s"  # noqa: PLR2004
