"""The demonstration's moving parts over real sockets and a real database."""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from opentelemetry.trace import NoOpTracer

from telemetrix.demo import store as store_module
from telemetrix.demo import wire
from telemetrix.demo.orders import PAID, TO_BE_PAID, OrderService, inventory, payments
from telemetrix.demo.phases import Faults
from telemetrix.demo.services import inventory_service, payment_service
from telemetrix.demo.store import OrderStore, StockTaking
from telemetrix.demo.wire import HangUpError, HttpClient, Request, Response, Server, ServiceUnavailableError
from tests.services import LOOPBACK, poll

TRACER = NoOpTracer()
Serve = Callable[[Callable[[Request], Response]], Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers, and stops them after the test."""
    with ExitStack() as stack:

        def start(application: Callable[[Request], Response]) -> Server:
            server = Server("under-test", application, TRACER)
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture
def database(tmp_path: Path) -> Iterator[OrderStore]:
    with closing(OrderStore(tmp_path / "orders.sqlite")) as store:
        yield store


def echo(request: Request) -> Response:
    return Response.of(200, {"thread": threading.get_ident(), **request.json()})


def own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("under-test")]


def raw(port: int, text: bytes) -> bytes:
    with socket.create_connection((LOOPBACK, port), timeout=5) as connection:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


# HTTP


def test_client__several_calls__keeps_one_connection(serve: Serve) -> None:
    with closing(HttpClient(serve(echo).port, TRACER)) as client:
        threads = {client.post("/", {})[1]["thread"] for _ in range(5)}
    assert len(threads) == 1  # the server has a thread per connection


def test_client__answered_with_503__raises_and_keeps_the_connection(serve: Serve) -> None:
    seen: set[int] = set()

    def unavailable(_: Request) -> Response:
        seen.add(threading.get_ident())
        return Response.of(503, {})

    with closing(HttpClient(serve(unavailable).port, TRACER)) as client:
        for _ in range(3):
            with pytest.raises(ServiceUnavailableError, match="503"):
                client.post("/", {})
    assert len(seen) == 1


def test_client__connection_dropped__raises_and_calls_again_on_a_new_one(serve: Serve) -> None:
    answers = iter([True, False, True])

    def drop_the_second(request: Request) -> Response:
        if next(answers):
            return echo(request)
        raise HangUpError

    with closing(HttpClient(serve(drop_the_second).port, TRACER)) as client:
        client.post("/", {})
        with pytest.raises(ConnectionError):
            client.post("/", {})
        assert client.post("/", {"again": True})[1]["again"] is True


def test_server__stopped_with_an_idle_connection__leaves_no_thread(serve: Serve) -> None:
    server = serve(echo)
    with closing(HttpClient(server.port, TRACER)) as client:
        client.post("/", {})
        assert own_threads() != []
        server.stop()
        assert own_threads() == []


def test_server__stopped_twice__does_nothing_more(serve: Serve) -> None:
    server = serve(echo)
    server.stop()
    server.stop()


@pytest.mark.parametrize(
    "header",
    [
        "Content-Length: many",
        "Content-Length: -1",
        f"Content-Length: {wire.MAX_BODY + 1}",
        "Transfer-Encoding: chunked",
    ],
)
def test_server__body_of_unusable_length__answers_400_and_closes(serve: Serve, header: str) -> None:
    answer = raw(serve(echo).port, f"POST / HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Connection: close" in answer


@pytest.mark.parametrize("text", [b"", b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"PUT / HTTP/1.1\r\n\r\n"])
def test_server__garbage__goes_on_serving_others(serve: Serve, text: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    server = serve(echo)
    raw(server.port, text)
    with closing(HttpClient(server.port, TRACER)) as client:
        assert client.post("/", {"fine": 1})[1]["fine"] == 1
    assert capsys.readouterr() == ("", "")


def test_server__more_connections_than_there_is_room_for__turns_them_away(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_CONNECTIONS", 1)
    server = serve(echo)
    with closing(HttpClient(server.port, TRACER)) as first, closing(HttpClient(server.port, TRACER)) as second:
        first.post("/", {})
        with pytest.raises((OSError, http.client.HTTPException)):
            second.post("/", {})
        first.post("/", {})


# SQLite


def test_transaction__block_raises__keeps_nothing(database: OrderStore) -> None:
    with pytest.raises(sqlite3.IntegrityError), database.transaction() as connection:
        connection.executemany("INSERT INTO orders (id, item, status) VALUES (?, 'bell', 'placed')", ["1", "2", "1"])
    assert database.statuses() == {}


def test_save__database_locked_by_another_job__raises_and_keeps_nothing(database: OrderStore, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "orders.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            database.save("1", "bell", "placed")
        other.execute("ROLLBACK")
    assert database.statuses() == {}
    database.save("1", "bell", "placed")
    assert database.statuses() == {"placed": 1}


def test_save__status_changes__history_tells_the_former_one(database: OrderStore) -> None:
    database.save("1", "bell", "placed")
    database.save("1", "bell", "paid")
    with database.transaction() as connection:
        history = connection.execute("SELECT order_id, status, former FROM history ORDER BY rowid").fetchall()
    assert history == [("1", "placed", None), ("1", "paid", "placed")]


@pytest.mark.parametrize("due", [True, False])
def test_stock_taking__due_or_not__holds_the_database_or_leaves_it_alone(
    database: OrderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, due: bool
) -> None:
    monkeypatch.setattr(store_module, "STOCK_TAKING_EVERY", 0.01)
    monkeypatch.setattr(store_module, "STOCK_TAKING_SECONDS", 0.01)
    asked = threading.Event()

    def is_due() -> bool:
        asked.set()
        return due

    def taken() -> int:
        with database.transaction() as connection:
            return int(connection.execute("SELECT count(*) FROM stock_takings").fetchone()[0])

    job = StockTaking(tmp_path / "orders.sqlite", is_due)
    try:
        assert asked.wait(10)
        if due:
            poll(taken)
    finally:
        job.stop()
    assert (taken() > 0) is due


# The order service


class Shop:
    """The order service with a payment service and an inventory, on loopback."""

    def __init__(self, stack: ExitStack, database: OrderStore) -> None:
        self.payment_faults = Faults()
        self.inventory_faults = Faults()
        payment = payment_service(lambda: self.payment_faults, TRACER)
        stack.callback(payment.stop)
        stock = inventory_service(lambda: self.inventory_faults, TRACER)
        stack.callback(stock.stop)
        to_stock, to_payment = stock.client(TRACER), payment.client(TRACER)
        stack.callback(to_stock.close)
        stack.callback(to_payment.close)
        service = OrderService(0, database, to_stock, to_payment, TRACER)
        stack.callback(service.server.stop)
        self.port = service.server.port

    def ask(self, method: str, path: str, body: str = "") -> tuple[int, str, dict[str, str]]:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=10)
        with closing(connection):
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), dict(answer.headers)

    def order(self, number: str = "1") -> tuple[int, str, dict[str, str]]:
        return self.ask("POST", "/orders", json.dumps({"id": number, "item": "bell"}))


@pytest.fixture
def shop(database: OrderStore) -> Iterator[Shop]:
    with ExitStack() as stack:
        for circuit in (payments, inventory):
            circuit.reset()
            stack.callback(circuit.reset)
        yield Shop(stack, database)


def test_order__all_services_answer__is_paid(shop: Shop, database: OrderStore) -> None:
    assert shop.order()[0] == 201
    assert database.statuses() == {PAID: 1}


def test_order__payment_down__is_taken_and_to_be_paid(shop: Shop, database: OrderStore) -> None:
    shop.payment_faults = Faults(dropped=1.0)
    assert shop.order()[0] == 202
    assert database.statuses() == {TO_BE_PAID: 1}


def test_order__payments_circuit_open__is_taken_without_asking(shop: Shop, database: OrderStore) -> None:
    payments.open()
    assert shop.order()[0] == 202
    assert database.statuses() == {TO_BE_PAID: 1}


def test_order__inventory_down__fails_and_is_stored_as_refused(shop: Shop, database: OrderStore) -> None:
    shop.inventory_faults = Faults(unavailable=1.0)
    assert shop.order()[0] == 503
    assert database.statuses() == {"refused": 1}


def test_order__inventory_circuit_open__says_when_to_come_back(shop: Shop) -> None:
    inventory.open()
    status, _, headers = shop.order()
    assert (status, headers["Retry-After"]) == (503, "2")


@pytest.mark.parametrize(
    "body", ["", "no json", "[]", '{"id": 1}', '"text"', "\udcff".encode("utf-8", "ignore").decode()]
)
def test_order__body_unusable__is_400(shop: Shop, body: str) -> None:
    assert shop.ask("POST", "/orders", body)[0] == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 200), ("GET", "/orders", 405), ("POST", "/metrics", 405), ("GET", "/nowhere", 404)],
)
def test_order_service__other_requests__are_answered_as_they_deserve(
    shop: Shop, method: str, path: str, status: int
) -> None:
    assert shop.ask(method, path)[0] == status
