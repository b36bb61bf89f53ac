"""The two services that the order service depends on, and the faults that the script injects into them."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Final

from opentelemetry.trace import Tracer

from telemetrix.demo.phases import Faults
from telemetrix.demo.wire import HangUpError, HttpClient, Request, Response, Server

SLOW_SECONDS: Final = 0.6
"""How long a slow answer takes: longer than the order service waits."""


class FaultyService:
    """A service that answers as well as the script lets it.

    Parameters:
        name: `payment`, say.
        answer: what it answers when it works.
        latency: seconds that takes, from and to.
        faults: asked at each request.
        tracer: makes its server spans.
    """

    def __init__(
        self,
        name: str,
        answer: Callable[[Request], Response],
        latency: tuple[float, float],
        faults: Callable[[], Faults],
        tracer: Tracer,
    ) -> None:
        self._answer = answer
        self._latency = latency
        self._faults = faults
        self._stopping = threading.Event()
        self.server: Server = Server(name, self._serve, tracer)

    def client(self, tracer: Tracer) -> HttpClient:
        """Something to call it with."""
        return HttpClient(self.server.port, tracer)

    def stop(self) -> None:
        """End it."""
        self._stopping.set()
        self.server.stop()

    def _serve(self, request: Request) -> Response:
        faults = self._faults()
        dice = random.random()
        self._stopping.wait(random.uniform(*self._latency))
        if dice < faults.unavailable:
            return Response.of(503, {"error": "temporarily unavailable"})
        dice -= faults.unavailable
        if dice < faults.dropped:
            raise HangUpError
        dice -= faults.dropped
        if dice < faults.slow:
            self._stopping.wait(SLOW_SECONDS)
        return self._answer(request)


def payment_service(faults: Callable[[], Faults], tracer: Tracer) -> FaultyService:
    """`POST /charge` takes money."""

    def charge(request: Request) -> Response:
        return Response.of(200, {"order": request.json().get("order"), "status": "paid"})

    return FaultyService("payment", charge, (0.015, 0.04), faults, tracer)


def inventory_service(faults: Callable[[], Faults], tracer: Tracer) -> FaultyService:
    """`POST /reserve` puts items aside."""

    def reserve(request: Request) -> Response:
        return Response.of(200, {"order": request.json().get("order"), "status": "reserved"})

    return FaultyService("inventory", reserve, (0.005, 0.015), faults, tracer)
