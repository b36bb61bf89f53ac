"""A real Prometheus: it scrapes a real workload, and answers the guide's questions about it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Iterator
from typing import Final

import pytest
from prometheus_client import start_http_server

from telemetrix import CircuitBreaker, retry
from telemetrix.telemetry.catalog import CATALOG, QUESTIONS, Kind, Question
from telemetrix.testing import CapturedTelemetry, Script, capture
from tests.services import LOOPBACK, Prometheus, poll, prometheus
from tests.telemetry.spans import trace_id

pytestmark = pytest.mark.service

SERVICE: Final = "ops.payment"


class Workload:
    """A service that calls a payment provider which is down every now and then, in a thread."""

    def __init__(self) -> None:
        self._turn = 0
        self._over = threading.Event()
        # Two failures open it; half a second later the probe finds the provider back, two times out of three.
        self._breaker = CircuitBreaker(2, 0.2, ConnectionError, name="payments")
        self._pay = retry(2, 0.01, exceptions=ConnectionError, name=SERVICE)(self._breaker(self._provider))
        self._thread = threading.Thread(target=self._work)

    def _provider(self) -> None:
        self._turn += 1
        if self._turn % 5 in {1, 3, 4}:
            raise ConnectionError

    def _work(self) -> None:
        while not self._over.wait(0.02):
            with contextlib.suppress(Exception):
                self._pay()

    @contextlib.contextmanager
    def running(self) -> Generator[None]:
        """Have it work during the block."""
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join(20)


@pytest.fixture(scope="module")
def captured() -> Iterator[CapturedTelemetry]:
    """What Prometheus scrapes; every span is sampled."""
    with capture() as captured:
        yield captured


@pytest.fixture(scope="module")
def server(captured: CapturedTelemetry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that scrapes this process."""
    endpoint, thread = start_http_server(0, LOOPBACK, captured.registry)
    try:
        with prometheus(tmp_path_factory.mktemp("prometheus"), endpoint.server_port) as server:
            yield server
    finally:
        endpoint.shutdown()
        endpoint.server_close()
        thread.join(10)


@pytest.fixture(scope="module")
def workload(captured: CapturedTelemetry, server: Prometheus) -> Iterator[Workload]:
    """The workload, running since after the first scrape: each of its series was seen at 0."""
    workload = Workload()
    poll(lambda: server.query(f'telemetrix_calls_total{{operation="{SERVICE}"}}'))
    with workload.running():
        yield workload


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.text)
def test_question__asked_about_a_real_workload__is_answered_with_data(
    server: Prometheus, workload: Workload, question: Question
) -> None:
    answer = poll(lambda: [row for row in server.query(question.promql) if row[1] > 0], every=0.2)
    assert all(value < float("inf") for _, value in answer)


def test_exemplars__of_a_real_workload__lead_to_its_traces(
    server: Prometheus, workload: Workload, captured: CapturedTelemetry
) -> None:
    found = poll(
        lambda: server.exemplars(f'telemetrix_call_duration_seconds_bucket{{operation="{SERVICE}"}}'), every=0.2
    )
    traces = {trace_id(span) for span in captured.spans}
    assert {labels["trace_id"] for labels in found} <= traces
    assert all(len(labels["span_id"]) == 16 for labels in found)


def test_metadata__in_prometheus__has_the_catalogues_types_and_helps(server: Prometheus, workload: Workload) -> None:
    known = poll(lambda: server.api("metadata"), every=0.2)
    for metric in CATALOG:
        name = metric.name.removesuffix("_total") if metric.kind is Kind.COUNTER else metric.name
        (entry,) = known.get(metric.name) or known[name]
        assert (entry["type"], entry["help"]) == (metric.kind.value, metric.help)


def test_calls_total__of_an_operation_that_has_ended__is_what_it_did(server: Prometheus, workload: Workload) -> None:
    outcomes = [1, ConnectionError, 1, ValueError, 1, 1, ConnectionError, ConnectionError]
    guarded = retry(2, 0, exceptions=ConnectionError, name="ops.counted")(Script(outcomes))
    promql = 'telemetrix_calls_total{primitive="retry",operation="ops.counted"}'
    poll(lambda: server.query(promql), every=0.2)
    for _ in range(6):
        with contextlib.suppress(Exception):
            guarded()
    expected = {"first_try": 3, "recovered": 1, "exhausted": 1, "not_retryable": 1, "deadline": 0, "cancelled": 0}
    poll(lambda: {labels["reason"]: value for labels, value in server.query(promql)} == expected, every=0.2)
    increased = f"sum(increase({promql}[1m])) > 0"
    poll(lambda: server.query(increased), every=0.2)
