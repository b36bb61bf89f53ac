"""The demonstration as people see it: run as a program, watched and scraped while it runs."""

from __future__ import annotations

import http.client
import re
from typing import NamedTuple

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from tests.demo.running import running
from tests.services import LOOPBACK, poll

pytestmark = pytest.mark.slow

SECONDS = 9

TEXT = "text/plain"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

STATUS = re.compile(
    r"\[ +\d+\.\d s\] (?P<phase>\w+): payments=\w+ inventory=\w+ attempts=\d+ failed=\d+ recovered=\d+ rejected=\d+"
    r" fallback=\d+ rollbacks=\d+ \| orders=\d+ paid=\d+ late=\d+ pending=\d+ failed=\d+"
)
CHANGE = re.compile(r"\[ +\d+\.\d s\] (== \w+: .+|circuit \w+: .+)")


class Performance(NamedTuple):
    """One run, and what was scraped just after the circuit had closed again."""

    code: int
    out: str
    err: str
    left_behind: list[str]
    text: tuple[str, list[Metric]]
    openmetrics: tuple[str, list[Metric]]

    @property
    def summary(self) -> str:
        """What was said at the end."""
        return self.out[self.out.rindex("telemetrix demo:") :]


def scrape(port: int, accept: str) -> tuple[str, str]:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", "/metrics", headers={"Accept": accept})
        response = connection.getresponse()
        assert response.status == http.HTTPStatus.OK
        return response.headers["Content-Type"], response.read().decode()
    finally:
        connection.close()


def value(families: list[Metric], name: str, **labels: str) -> float:
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


@pytest.fixture(scope="module")
def performance(tmp_path_factory: pytest.TempPathFactory) -> Performance:
    folder = tmp_path_factory.mktemp("demo")
    with running(folder, "--seconds", str(SECONDS)) as demo:
        poll(lambda: "closed again" in demo.out, within=SECONDS + 5, every=0.05)
        text_type, text = scrape(demo.port, TEXT)
        openmetrics_type, openmetrics = scrape(demo.port, OPENMETRICS)
        code, _ = demo.wait(within=15)
    return Performance(
        code,
        demo.out,
        demo.err,
        [path.name for path in demo.scratch.iterdir()],
        (text_type, list(text_families(text))),
        (openmetrics_type, list(openmetrics_families(openmetrics))),  # type: ignore[no-untyped-call]
    )


def test_demo__run_to_its_end__exits_0_and_leaves_nothing_behind(performance: Performance) -> None:
    assert (performance.code, performance.err, performance.left_behind) == (0, "", [])


def test_demo__without_a_terminal__writes_a_line_per_second_and_per_change(performance: Performance) -> None:
    first, *lines = performance.out[: performance.out.rindex("telemetrix demo:")].splitlines()
    assert first.startswith("telemetrix demo: orders at http://127.0.0.1:")
    statuses = [line for line in lines if STATUS.fullmatch(line)]
    assert SECONDS - 3 <= len(statuses) <= SECONDS
    assert [line for line in lines if not STATUS.fullmatch(line) and not CHANGE.fullmatch(line)] == []
    assert performance.out.isascii()


def test_demo__while_it_runs__goes_through_the_four_phases(performance: Performance) -> None:
    assert re.findall(r"== (\w+):", performance.out) == ["healthy", "flaky", "outage", "recovery"]


def test_demo__outage_and_recovery__circuit_opens_probes_and_closes(performance: Performance) -> None:
    told = re.findall(r"circuit payments: (opened after|half-open|closed again)", performance.out)
    assert told[0] == "opened after"
    assert told[-2:] == ["half-open", "closed again"]


def test_demo__at_the_end__says_what_telemetrix_saved(performance: Performance) -> None:
    found = re.search(r"saved +(\d+) of (\d+) calls .*: (\d+) by retry, (\d+) by fallback", performance.summary)
    assert found is not None
    saved, failing, recovered, served = map(int, found.groups())
    assert recovered > 0
    assert served > 0
    assert saved == recovered + served <= failing
    assert re.search(r"spared +[1-9]\d* attempts at a service that was down", performance.summary)
    assert re.search(r"undone +[1-9]\d* transactions?, rolled back", performance.summary)


def test_demo__at_the_end__tells_of_the_circuit_that_opened_and_closed(performance: Performance) -> None:
    assert re.search(r"^payments +[1-9]\d* +[1-9]\d* +[1-9]\d* +\d+\.\d s +closed$", performance.summary, re.MULTILINE)


def test_demo__at_the_end__what_customers_noticed_adds_up(performance: Performance) -> None:
    noticed = re.search(
        r"noticed +(\d+) orders: (\d+) paid at once, (\d+) late, (\d+) pending, (\d+) failed", performance.summary
    )
    assert noticed is not None
    orders, at_once, late, pending, failed = map(int, noticed.groups())
    assert orders == at_once + late + pending + failed
    assert at_once > 0
    assert pending > 0
    # Bounded load: a dozen customers, thirty orders a second.
    assert SECONDS * 5 < orders < SECONDS * 40


def test_metrics__asked_for_text__is_prometheus_text_with_an_opened_and_closed_circuit(
    performance: Performance,
) -> None:
    content_type, families = performance.text
    assert content_type.startswith("text/plain; version=0.0.4")
    assert value(families, "telemetrix_circuit_transitions_total", circuit="payments", to_state="open") >= 1
    assert value(families, "telemetrix_circuit_transitions_total", circuit="payments", to_state="half_open") >= 1
    assert value(families, "telemetrix_circuit_transitions_total", circuit="payments", to_state="closed") >= 1
    assert value(families, "telemetrix_circuit_state", circuit="payments", state="closed") == 1
    charge = {"operation": "telemetrix.demo.orders.charge"}
    assert value(families, "telemetrix_calls_total", primitive="fallback", outcome="fallback", **charge) > 0
    assert value(families, "telemetrix_calls_total", primitive="circuit_breaker", outcome="rejected", **charge) > 0


def test_metrics__asked_for_openmetrics__is_openmetrics(performance: Performance) -> None:
    content_type, families = performance.openmetrics
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert value(families, "telemetrix_calls_total", primitive="retry", reason="recovered") > 0
    assert value(families, "telemetrix_circuit_probes_total", circuit="payments", outcome="success") >= 1
