"""The demonstration's spans: one trace from the order to the payment, and endpoints that do not answer."""

from __future__ import annotations

import re
import socket
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.demo.running import running
from tests.services import LOOPBACK, otlp_receiver

pytestmark = pytest.mark.slow

CHARGED = [
    "POST /orders",
    "fallback telemetrix.demo.orders.charge",
    "retry telemetrix.demo.orders.charge",
    "attempt telemetrix.demo.orders.charge",
    "circuit_breaker telemetrix.demo.orders.charge",
    "timeout telemetrix.demo.orders.charge",
    "POST /charge",
    "POST /charge",
]


def lineage(span: Span, by_id: dict[bytes, Span]) -> list[str]:
    names: list[str] = []
    while True:
        names.insert(0, span.name)
        if not span.parent_span_id:
            return names
        assert by_id[span.parent_span_id].trace_id == span.trace_id
        span = by_id[span.parent_span_id]


def test_spans__endpoint_answers__one_trace_leads_from_the_order_to_the_payment_service(tmp_path: Path) -> None:
    with otlp_receiver() as receiver:
        base = receiver.endpoint.removesuffix("/v1/traces")
        with running(tmp_path, "--seconds", "4", env={"OTEL_EXPORTER_OTLP_ENDPOINT": base}) as demo:
            assert demo.wait(within=20)[0] == 0
        spans = receiver.spans
        services = {resource["service.name"] for resource in receiver.resources}
    assert demo.err == ""
    assert services == {"orders", "payment", "inventory"}
    by_id = {span.span_id: span for span in spans}
    payments = [span for span in spans if span.name == "POST /charge" and span.kind == Span.SPAN_KIND_SERVER]
    assert payments
    for span in payments:
        assert lineage(span, by_id) == CHARGED
    attempts: defaultdict[bytes, int] = defaultdict(int)
    for span in spans:
        attempts[span.parent_span_id] += span.name.startswith("attempt ")
    assert max(attempts.values()) > 1  # somebody was tried again
    assert re.search(rf"traced +{len(spans)} spans sent to {re.escape(base)}\n", demo.out)


@pytest.fixture(params=["refuses", "never answers"])
def dead_endpoint(request: pytest.FixtureRequest) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        if request.param == "never answers":
            listener.listen(64)
        yield f"http://{LOOPBACK}:{listener.getsockname()[1]}"


def test_spans__endpoint_dead__cost_one_line_and_no_more_than_two_seconds(tmp_path: Path, dead_endpoint: str) -> None:
    with running(tmp_path, "--seconds", "3", env={"OTEL_EXPORTER_OTLP_ENDPOINT": dead_endpoint}) as demo:
        code, seconds = demo.wait(within=20)
    assert (code, demo.err) == (0, "")
    assert seconds < 3 + 3  # a second more than promised, for a busy machine
    assert demo.out.count("opentelemetry") <= 2  # the exporter's complaint, and urllib3's perhaps
    assert f"traced    no span arrived at {dead_endpoint}\n" in demo.out
