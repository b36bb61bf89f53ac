"""The order service: what an application looks like that is guarded by telemetrix.

`save`, `reserve` and `charge` are all there is to see; no line here sets telemetry up.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from math import ceil
from typing import Any, Final

from opentelemetry.trace import Tracer
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from telemetrix import CallRejectedError, CircuitBreaker, Jitter, fallback, retry, timeout
from telemetrix.demo.store import OrderStore
from telemetrix.demo.wire import HttpClient, Request, Response, Server

NETWORK_ERRORS: Final = (OSError, HTTPException)  # TimeoutError and ConnectionError are OSErrors

PAID: Final = "paid"
TO_BE_PAID: Final = "to be paid"

payments: CircuitBreaker = CircuitBreaker(
    failure_threshold=8, recovery_timeout=1.5, expected_exception=NETWORK_ERRORS, name="payments"
)
inventory: CircuitBreaker = CircuitBreaker(
    failure_threshold=8, recovery_timeout=1.5, expected_exception=NETWORK_ERRORS, name="inventory"
)


@dataclass(frozen=True, slots=True)
class Order:
    """What a customer wants."""

    id: str
    item: str


@retry(max_attempts=6, delay=0.05, jitter=Jitter.EQUAL, exceptions=sqlite3.OperationalError)
def save(store: OrderStore, order: Order, status: str) -> None:
    """Store an order; each failed attempt is a transaction that was rolled back."""
    store.save(order.id, order.item, status)


@retry(max_attempts=3, delay=0.05, exceptions=NETWORK_ERRORS)
@inventory
@timeout(0.25)
def reserve(service: HttpClient, order: Order) -> None:
    """Put the item aside. Without it there is no order, so there is no fallback either."""
    service.post("/reserve", {"order": order.id, "item": order.item})


def charge_later(service: HttpClient, order: Order) -> str:  # noqa: ARG001 - a fallback gets the call's arguments
    """Take the order all the same and the money another day."""
    return TO_BE_PAID


@fallback(charge_later, exceptions=(*NETWORK_ERRORS, CallRejectedError))
@retry(max_attempts=3, delay=0.05, exceptions=NETWORK_ERRORS)
@payments
@timeout(0.25)
def charge(service: HttpClient, order: Order) -> str:
    """Take the money."""
    service.post("/charge", {"order": order.id})
    return PAID


GUARDED: Final[dict[str, Callable[..., Any]]] = {"reserve": reserve, "charge": charge, "save": save}
"""What telemetrix guards here, by the name it has on the screen."""


class OrderService:
    """`POST /orders` takes an order; `GET /metrics` tells how that goes.

    Parameters:
        port: where it listens; 0 is any free port.
        store: where orders are kept.
        stock, payment: the services it calls.
        tracer: makes its server spans.

    Raises:
        OSError: the port cannot be had.
    """

    def __init__(self, port: int, store: OrderStore, stock: HttpClient, payment: HttpClient, tracer: Tracer) -> None:
        self._store = store
        self._stock = stock
        self._payment = payment
        self.server: Server = Server("orders", self._serve, tracer, port, idle_seconds=60.0)

    def place(self, order: Order) -> str:
        """Take an order: what became of its payment."""
        save(self._store, order, "placed")
        try:
            reserve(self._stock, order)
        except (*NETWORK_ERRORS, CallRejectedError):
            save(self._store, order, "refused")
            raise
        payment = charge(self._payment, order)
        save(self._store, order, payment)
        return payment

    def _serve(self, request: Request) -> Response:
        match request.method, request.path.partition("?")[0]:
            case "POST", "/orders":
                return self._order(request)
            case "GET", "/metrics":
                # Prometheus asks for OpenMetrics, which has the exemplars; a browser gets the plain text format.
                encode, content_type = choose_encoder(request.headers.get("Accept") or "")
                return Response(200, encode(REGISTRY), content_type)
            case "GET", "/":
                return Response.of(200, {"orders": self._store.statuses(), "see": ["/metrics", "POST /orders"]})
            case _, "/" | "/orders" | "/metrics":
                return Response.of(405, {"error": "method not allowed"})
            case _:
                return Response.of(404, {"error": "there are POST /orders and GET /metrics"})

    def _order(self, request: Request) -> Response:
        try:
            body = request.json()
            order = Order(id=str(body["id"]), item=str(body["item"]))
        except (ValueError, KeyError):
            return Response.of(400, {"error": 'send {"id": ..., "item": ...}'})
        try:
            payment = self.place(order)
        except CallRejectedError as error:
            wait = str(ceil(error.retry_after or 1))
            return Response.of(503, {"error": "come back later"}, Retry_After=wait)
        except (*NETWORK_ERRORS, sqlite3.Error):
            return Response.of(503, {"error": "the order could not be taken"})
        return Response.of(201 if payment == PAID else 202, {"id": order.id, "payment": payment})
