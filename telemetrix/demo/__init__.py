"""The two-minute demonstration: a real service, real faults, real traffic; `telemetrix demo`."""

from telemetrix.demo.director import run

__all__ = ["run"]
