"""A client of a flaky HTTP service: retries, a circuit breaker, timeouts, a fallback, and the metrics of it all.

Run it: python examples/flaky_http.py
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import REGISTRY

from telemetrix import CircuitBreaker, CircuitState, fallback, retry, subscribe, timeout
from telemetrix.events import CircuitTransition


class ServiceUnavailableError(Exception):
    """The service answered, but not with 200."""


class PriceService(BaseHTTPRequestHandler):
    """Flaky (answers every third request), down, or well."""

    mode = "flaky"
    requests = itertools.count(1)

    def do_GET(self) -> None:
        number = next(self.requests)
        answers = self.mode == "well" or (self.mode == "flaky" and number % 3 == 0)
        body = json.dumps({"price": 42}).encode() if answers else b""
        self.send_response(200 if answers else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it that
        """Say nothing."""


server = ThreadingHTTPServer(("127.0.0.1", 0), PriceService)
prices = CircuitBreaker(failure_threshold=5, recovery_timeout=0.3, name="prices")


@fallback({"price": None})
@timeout(seconds=2)  # the whole call, its waits included
@retry(max_attempts=3, delay=0.02, exceptions=(OSError, ServiceUnavailableError))
@prices
@timeout(seconds=0.5, name="one attempt")  # inside the breaker, so that a hang counts as a failure
def fetch_price(item: int) -> dict[str, int | None]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=0.5)
    try:
        connection.request("GET", f"/price/{item}")
        response = connection.getresponse()
        body = response.read()
        if response.status != http.HTTPStatus.OK:
            raise ServiceUnavailableError(response.status)
        answer: dict[str, int | None] = json.loads(body)
        return answer
    finally:
        connection.close()


def announce(event: CircuitTransition) -> None:
    print(f"    circuit {event.circuit}: {event.from_state} -> {event.to_state} ({event.reason})")


def ask(times: int) -> None:
    for item in range(times):
        print(f"  item {item}: {fetch_price(item)}")


def main() -> None:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with subscribe(announce, to=CircuitTransition):
        print("Two requests of three fail; retries recover:")
        ask(3)
        print("The service is down; the fallback answers and the circuit opens:")
        PriceService.mode = "down"
        ask(3)
        print("The service is back; once the recovery timeout has passed, a probe closes the circuit:")
        PriceService.mode = "well"
        while prices.state is CircuitState.OPEN:
            time.sleep(0.05)
        ask(3)
    server.shutdown()
    server.server_close()

    print("What Prometheus sees:")
    for family in REGISTRY.collect():
        for sample in family.samples:
            if sample.name == "telemetrix_calls_total" and sample.value:
                ending = f"{sample.labels['outcome']} ({sample.labels['reason']})"
                print(f"  {sample.labels['primitive']:16}{sample.labels['operation']:24}{ending:26}{sample.value:3.0f}")


if __name__ == "__main__":
    main()
