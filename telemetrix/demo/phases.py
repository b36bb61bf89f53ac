"""The script of the demonstration: four phases, and what goes wrong in each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

CYCLE_SECONDS: Final = 60.0
"""How long the four phases take where the given time does not say otherwise."""


@dataclass(frozen=True, slots=True)
class Faults:
    """How a service misbehaves; each is the share of its requests, 0 to 1."""

    unavailable: float = 0.0
    """Answered with 503."""
    dropped: float = 0.0
    """Not answered: the connection is closed."""
    slow: float = 0.0
    """Answered well, but later than anybody waits."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the demonstration.

    Attributes:
        name: what it is called on the screen.
        story: what goes wrong, one line.
        share: its part of a cycle, 0 to 1.
        payment, inventory: the faults of the two services.
        stock_taking: whether another job keeps locking the orders' database.
    """

    name: str
    story: str
    share: float
    payment: Faults
    inventory: Faults
    stock_taking: bool = False


PHASES: Final = (
    Phase("healthy", "every service answers", 0.2, Faults(), Faults()),
    Phase(
        "flaky",
        "payment fails 3 times in 10, inventory 2; stock-taking locks the database",
        0.28,
        Faults(unavailable=0.17, dropped=0.08, slow=0.05),
        Faults(unavailable=0.12, dropped=0.06, slow=0.02),
        stock_taking=True,
    ),
    Phase(
        "outage",
        "payment is down: it refuses, hangs up or hangs; inventory stumbles",
        0.27,
        Faults(unavailable=0.6, dropped=0.3, slow=0.1),
        Faults(unavailable=0.05),
    ),
    Phase("recovery", "payment is back", 0.25, Faults(), Faults(unavailable=0.02)),
)


class Moment(NamedTuple):
    """Where the script stands.

    Attributes:
        cycle: 1 for the first run through the phases.
        phase: the present one.
        left: seconds until the next one.
    """

    cycle: int
    phase: Phase
    left: float


@dataclass(frozen=True, slots=True)
class Script:
    """The phases, scaled to a time.

    Parameters:
        cycle_seconds: how long one run through all of them takes.
    """

    cycle_seconds: float

    @classmethod
    def within(cls, seconds: float | None) -> Script:
        """The script whose cycles fill that time; None is for ever."""
        if seconds is None:
            return cls(CYCLE_SECONDS)
        return cls(seconds / max(1, round(seconds / CYCLE_SECONDS)))

    def at(self, elapsed: float) -> Moment:
        """Where the script stands after that many seconds."""
        cycles, position = divmod(elapsed, self.cycle_seconds)
        end = 0.0
        for phase in PHASES:
            end += phase.share * self.cycle_seconds
            if position < end:
                return Moment(int(cycles) + 1, phase, end - position)
        return Moment(int(cycles) + 1, PHASES[-1], 0.0)
