"""The customers: a bounded number of them, ordering at a steady pace, and noting what they notice."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter, deque
from enum import StrEnum
from http import HTTPStatus
from http.client import HTTPException
from typing import Final

from opentelemetry.trace import NoOpTracer

from telemetrix.demo.wire import HttpClient, ServiceUnavailableError

CUSTOMERS: Final = 12
ORDERS_PER_SECOND: Final = 30.0
LATE_SECONDS: Final = 0.3
PATIENCE_SECONDS: Final = 5.0
RECENT: Final = 150
"""Response times that `quantile` looks at."""

_ITEMS: Final = ("bicycle", "bell", "lamp", "lock", "pump", "saddle")


class Noticed(StrEnum):
    """What a customer noticed of an order: paid (at once or late), taken with its payment pending, or failed."""

    AT_ONCE = "paid at once"
    LATE = "late"
    PENDING = "pending"
    FAILED = "failed"


class Customers:
    """Drives orders at the order service over real sockets until it is stopped.

    Parameters:
        port: where the order service listens, on loopback.
    """

    def __init__(self, port: int) -> None:
        self._client = HttpClient(port, NoOpTracer(), PATIENCE_SECONDS)
        self._numbers = itertools.count(1)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._noticed: Counter[Noticed] = Counter()
        self._seconds: deque[float] = deque(maxlen=RECENT)
        self._threads = [
            threading.Thread(target=self._order_and_order, args=(seat,), name=f"customer-{seat}", daemon=True)
            for seat in range(CUSTOMERS)
        ]
        for thread in self._threads:
            thread.start()

    def noticed(self) -> Counter[Noticed]:
        """How many orders went how, so far."""
        with self._lock:
            return self._noticed.copy()

    def quantile(self, share: float) -> float:
        """The response time that this share of the recent orders did not exceed, seconds."""
        with self._lock:
            ordered = sorted(self._seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def stop(self) -> None:
        """Send no further orders and wait for the answers to those under way; twice is allowed."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._client.close()

    def _order_and_order(self, seat: int) -> None:
        interval = CUSTOMERS / ORDERS_PER_SECOND
        due = time.monotonic() + interval * seat / CUSTOMERS
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            self._order()
            # One that had to wait long does not catch up: the load stays bounded.
            due = max(due + interval * random.uniform(0.8, 1.2), time.monotonic())

    def _order(self) -> None:
        payload = {"id": f"order-{next(self._numbers)}", "item": random.choice(_ITEMS)}
        started = time.monotonic()
        try:
            status, _ = self._client.post("/orders", payload)
        except (ServiceUnavailableError, OSError, HTTPException):
            status = None
        seconds = time.monotonic() - started
        if status == HTTPStatus.CREATED:
            noticed = Noticed.AT_ONCE if seconds <= LATE_SECONDS else Noticed.LATE
        else:
            noticed = Noticed.PENDING if status == HTTPStatus.ACCEPTED else Noticed.FAILED
        with self._lock:
            self._noticed[noticed] += 1
            self._seconds.append(seconds)
