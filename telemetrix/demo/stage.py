"""Everything that runs during the demonstration, built up and taken down in order."""

from __future__ import annotations

import errno
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import telemetrix
from telemetrix.demo.orders import OrderService
from telemetrix.demo.phases import Phase, Script
from telemetrix.demo.services import inventory_service, payment_service
from telemetrix.demo.store import OrderStore, StockTaking
from telemetrix.demo.tracing import SCOPE, Spans
from telemetrix.demo.traffic import Customers
from telemetrix.demo.wire import HOST


class PortRefusedError(Exception):
    """The order service cannot listen where it was told to; the text says what to do."""

    def __init__(self, port: int, error: OSError) -> None:
        why = "is taken by another program" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
        super().__init__(f"port {port} on {HOST} {why}; choose another one with --port (0: any free one)")


@dataclass(frozen=True, slots=True)
class Stage:
    """What a director needs of it.

    Attributes:
        port: where the order service listens.
        customers: the traffic.
        started: when the script began, `time.monotonic`.
    """

    port: int
    customers: Customers
    started: float

    @property
    def address(self) -> str:
        """The order service's URL."""
        return f"http://{HOST}:{self.port}"

    @property
    def elapsed(self) -> float:
        """Seconds since the script began."""
        return time.monotonic() - self.started


@contextmanager
def staged(script: Script, port: int, spans: Spans) -> Generator[Stage]:
    """The services and their customers, running during the block; nothing of them is left after it.

    Raises:
        PortRefusedError: the port cannot be had.
    """
    started = time.monotonic()

    def phase() -> Phase:
        return script.at(time.monotonic() - started).phase

    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="telemetrix-demo-", ignore_cleanup_errors=True))
        path = Path(folder) / "orders.sqlite"
        own = spans.provider("orders")
        stack.callback(spans.stop)
        telemetrix.configure(tracer_provider=own)
        stack.callback(telemetrix.configure, tracer_provider=None)
        tracer = own.get_tracer(SCOPE)

        payment = payment_service(lambda: phase().payment, spans.provider("payment").get_tracer(SCOPE))
        stack.callback(payment.stop)
        stock = inventory_service(lambda: phase().inventory, spans.provider("inventory").get_tracer(SCOPE))
        stack.callback(stock.stop)
        to_payment, to_stock = payment.client(tracer), stock.client(tracer)
        stack.callback(to_payment.close)
        stack.callback(to_stock.close)

        store = OrderStore(path)
        stack.callback(store.close)
        try:
            orders = OrderService(port, store, to_stock, to_payment, tracer)
        except OSError as error:
            raise PortRefusedError(port, error) from error
        stack.callback(orders.server.stop)
        stack.callback(StockTaking(path, lambda: phase().stock_taking).stop)
        customers = Customers(orders.server.port)
        stack.callback(customers.stop)
        yield Stage(orders.server.port, customers, started)
