"""The demonstration's script, history and journal."""

from __future__ import annotations

import logging
from collections import Counter
from itertools import pairwise

import pytest

from telemetrix import CircuitBreaker
from telemetrix.demo.journal import Journal
from telemetrix.demo.phases import CYCLE_SECONDS, PHASES, Script
from telemetrix.demo.readings import Report, Tally
from telemetrix.demo.scene import SLICES, History, Slice
from telemetrix.demo.traffic import Noticed


def test_phases__shares__fill_a_cycle() -> None:
    assert sum(phase.share for phase in PHASES) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("seconds", "cycle"), [(None, CYCLE_SECONDS), (8.0, 8.0), (60.0, 60.0), (80.0, 80.0), (100.0, 50.0), (600.0, 60.0)]
)
def test_script__for_a_time__fills_it_with_whole_cycles(seconds: float | None, cycle: float) -> None:
    assert Script.within(seconds).cycle_seconds == pytest.approx(cycle)


def test_script__as_time_passes__goes_through_the_phases_and_begins_again() -> None:
    script = Script(10.0)
    moments = [script.at(seconds) for seconds in (0.0, 1.9, 2.1, 4.7, 4.9, 7.4, 7.6, 9.99, 10.0, 12.1)]
    assert [moment.phase.name for moment in moments] == (
        ["healthy"] * 2 + ["flaky"] * 2 + ["outage"] * 2 + ["recovery"] * 2 + ["healthy", "flaky"]
    )
    assert [moment.cycle for moment in moments] == [1] * 8 + [2] * 2
    assert moments[0].left == pytest.approx(2.0)


def test_script__many_small_steps__never_goes_back_within_a_cycle() -> None:
    order = [PHASES.index(Script(7.0).at(step / 1000).phase) for step in range(7000)]
    assert all(before <= after for before, after in pairwise(order))


def tally(*, attempts: int, failed: int = 0, rejected: int = 0) -> Tally:
    return Tally(attempts, attempts, failed, 0, 0, rejected, 0, 0, 0)


def test_history__slices_pass__keeps_what_each_of_them_brought() -> None:
    history = History(Script(float(SLICES)))
    quiet = Report({"charge": tally(attempts=10)}, ())
    failing = Report({"charge": tally(attempts=20, failed=2, rejected=3)}, ())
    assert history.add(0.5, quiet, Counter()) == ()
    assert history.add(1.5, quiet, Counter({Noticed.AT_ONCE: 10})) == (Slice(0.0, 0.0),)
    both = history.add(2.5, failing, Counter({Noticed.AT_ONCE: 13, Noticed.FAILED: 1}))
    assert both == (Slice(0.0, 0.0), Slice(0.5, 0.25))


def test_history__next_cycle__begins_anew() -> None:
    history = History(Script(float(SLICES)))
    report = Report({"charge": tally(attempts=1)}, ())
    assert len(history.add(SLICES - 0.5, report, Counter())) == SLICES - 1
    assert history.add(SLICES + 0.5, report, Counter()) == ()


def test_journal__circuit_moves__writes_a_line_for_each_move() -> None:
    journal = Journal()
    circuit = CircuitBreaker(2, 60.0, name="tests.demo.journal")
    with journal.listening():
        for _ in range(2):
            with pytest.raises(ZeroDivisionError), circuit:
                _ = 1 / 0
    circuit.reset()  # nobody listens any more
    assert [line.text for line in journal.lines] == [
        "circuit tests.demo.journal: opened after 2 failures in a row, the last: ZeroDivisionError"
    ]
    assert [move.to_state for move in journal.transitions["tests.demo.journal"]] == ["open"]


def test_journal__warnings_of_other_libraries__keeps_the_first_of_each_in_ascii() -> None:
    journal = Journal()
    with journal.listening():
        for _ in range(100):
            logging.getLogger("opentelemetry.exporter").warning("no\nanswer \N{SNOWMAN}")
            logging.getLogger("telemetrix").warning("retry.gave_up")
            logging.getLogger("urllib3").info("chatter")
    assert [line.text for line in journal.lines] == ["opentelemetry.exporter: no answer \\u2603"]
