"""PROMETHEUS_MULTIPROC_DIR: the sums over several worker processes are right, also after one of them was killed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import pytest

from telemetrix.telemetry.catalog import CATALOG, Kind
from tests.services import run_python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")

WORKERS: Final = """
import json, os, signal, sys, threading
import telemetrix
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

telemetrix.configure(logging=False)

def make():
    breaker = telemetrix.CircuitBreaker(2, 60, name="shared")
    script = telemetrix.testing.Script([1, ValueError, 1])
    return breaker, telemetrix.retry(2, 0, name="f")(script)

def scrape():
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return [s for family in registry.collect() for s in family.samples]

def count(name, **labels):
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

class Worker:
    # A worker process: does its work, says so, and stays until it is let go.
    def __init__(self, work):
        done, ready = os.pipe()
        stay, go = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(go)
                work()
                os.write(ready, b".")
                os.read(stay, 1)
                status = 0
            finally:
                os._exit(status)
        os.close(ready), os.close(stay)
        assert os.read(done, 1) == b"."
        self.go = go

    def end(self, sig=None):
        if sig is None:
            os.write(self.go, b".")
        else:
            os.kill(self.pid, sig)
        os.close(self.go)
        os.waitpid(self.pid, 0)
        mark_process_dead(self.pid)

def states():
    return [count("telemetrix_circuit_state", circuit="shared", state=s) for s in ("closed", "open", "half_open")]
"""


@pytest.fixture
def folder(tmp_path: Path) -> dict[str, str]:
    """The environment of a server with several workers."""
    return {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}


def run(code: str, folder: dict[str, str]) -> Any:
    return run_python("import telemetrix.testing\n" + WORKERS + code, env=folder)


def test_workers__each_making_its_own_operations__are_summed_also_after_one_is_killed(folder: dict[str, str]) -> None:
    seen = run(
        """
def work():
    breaker, guarded = make()
    for _ in range(10):
        guarded()

def work_and_open():
    work()
    breaker, _ = make()
    breaker.open()

workers = [Worker(work), Worker(work), Worker(work_and_open)]

def totals():
    return {
        "first_try": count("telemetrix_calls_total", operation="f", reason="first_try"),
        "recovered": count("telemetrix_calls_total", operation="f", reason="recovered"),
        "durations": count("telemetrix_call_duration_seconds_count", operation="f"),
        "errors": count("telemetrix_errors_total", operation="f", error_type="ValueError"),
        "attempts": count("telemetrix_attempts_per_call_sum", operation="f"),
        "opened": count("telemetrix_circuit_transitions_total", circuit="shared", to_state="open", reason="manual"),
        "builds": count("telemetrix_build_info"),
    }

samples = scrape()
before, states_before = totals(), states()
workers.pop().end(signal.SIGKILL)
samples = scrape()
after, states_after = totals(), states()
for worker in workers:
    worker.end()
print(json.dumps([before, after, states_before, states_after]))
""",
        folder,
    )
    before, after, states_before, states_after = seen
    assert before == {
        "first_try": 27,
        "recovered": 3,
        "durations": 30,
        "errors": 3,
        "attempts": 33,
        "opened": 1,
        "builds": 1,
    }
    assert after == before
    assert states_before == [2, 1, 0]
    assert states_after == [2, 0, 0]


def test_workers__forked_from_a_process_that_made_the_operations__are_summed(folder: dict[str, str]) -> None:
    seen = run(
        """
breaker, guarded = make()

def work():
    for _ in range(10):
        guarded()

def work_and_open():
    work()
    breaker.open()

workers = [Worker(work), Worker(work_and_open)]
samples = scrape()
zero = count("telemetrix_calls_total", operation="f", reason="exhausted")
seen = [count("telemetrix_calls_total", operation="f"), zero, states()]
workers.pop().end(signal.SIGKILL)
samples = scrape()
seen += [count("telemetrix_calls_total", operation="f"), states()]
workers.pop().end()
samples = scrape()
seen += [count("telemetrix_calls_total", operation="f"), states()]
print(json.dumps(seen))
""",
        folder,
    )
    # The process that forks has the circuit too: closed, as nobody calls there.
    assert seen == [20, 0, [2, 1, 0], 20, [2, 0, 0], 20, [1, 0, 0]]


def test_workers__one_with_a_circuit_made_and_opened_late__say_when_its_state_began(folder: dict[str, str]) -> None:
    seen = run(
        """
import time
began = time.time()

def work():
    breaker, _ = make()
    breaker.open()

worker = Worker(work)
samples = scrape()
worker.end()
since = count("telemetrix_circuit_state_since_timestamp_seconds", circuit="shared")
print(json.dumps(began <= since <= time.time()))
""",
        folder,
    )
    assert seen is True


def test_circuit__closing_again_in_a_worker__has_counted_its_time_open(folder: dict[str, str]) -> None:
    seen = run(
        """
from telemetrix.testing import virtual_clock

def work():
    with virtual_clock() as clock:
        breaker, _ = make()
        breaker.open()
        clock.advance(20)
        breaker.reset()
        breaker.open()
        clock.advance(100)
        breaker.call(bool)

workers = [Worker(work), Worker(work)]
samples = scrape()
for worker in workers:
    worker.end(signal.SIGKILL)
print(json.dumps(count("telemetrix_circuit_open_seconds_total", circuit="shared")))
""",
        folder,
    )
    assert seen == pytest.approx(2 * (20 + 60))


def test_workers__calling_from_threads__are_summed(folder: dict[str, str]) -> None:
    seen = run(
        """
def work():
    guarded = telemetrix.retry(1, name="f")(lambda: None)

    def some():
        for _ in range(200):
            guarded()

    threads = [threading.Thread(target=some) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()

workers = [Worker(work), Worker(work)]
samples = scrape()
for worker in workers:
    worker.end()
print(json.dumps(count("telemetrix_calls_total", operation="f", reason="first_try")))
""",
        folder,
    )
    assert seen == 1600


def test_worker__sampled_span__counts_without_an_exemplar(folder: dict[str, str]) -> None:
    seen = run(
        """
from telemetrix.testing import capture

def work():
    with capture():
        make()[1]()

worker = Worker(work)
samples = scrape()
worker.end()
print(json.dumps([any(s.exemplar for s in samples), count("telemetrix_calls_total", operation="f") > 0]))
""",
        folder,
    )
    assert seen == [False, True]


def test_families__of_the_merged_exposition__have_the_catalogues_types_and_no_pid(folder: dict[str, str]) -> None:
    seen = run(
        """
worker = Worker(make)
registry = CollectorRegistry()
MultiProcessCollector(registry)
families = {f.name: f.type for f in registry.collect() if f.samples}
pids = [s for f in registry.collect() for s in f.samples if "pid" in s.labels]
worker.end()
print(json.dumps([families, len(pids)]))
""",
        folder,
    )
    families, with_pid = seen
    assert with_pid == 0
    kinds = {metric.name.removesuffix("_total"): metric.kind.value for metric in CATALOG}
    assert families.items() <= kinds.items()
    assert kinds["telemetrix_calls"] == families["telemetrix_calls"] == Kind.COUNTER.value


def test_second_metrics__in_a_process_with_workers__goes_on_from_the_same_files(folder: dict[str, str]) -> None:
    seen = run(
        """
_, guarded = make()
guarded()
telemetrix.configure(registry=CollectorRegistry())
guarded()
samples = scrape()
print(json.dumps(count("telemetrix_calls_total", operation="f")))
""",
        folder,
    )
    assert seen == 2
