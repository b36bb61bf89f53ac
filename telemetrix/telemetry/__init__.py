"""The backends: Prometheus metrics, OpenTelemetry traces and structlog logs, each a subscriber on the bus.

Importing this room puts all three to work with their defaults; `configure` changes them.
"""

from telemetrix.telemetry.setup import configure

__all__ = ["configure"]
