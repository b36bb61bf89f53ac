"""After a fork the child counts on, whatever the parent's threads were in the middle of."""

from __future__ import annotations

import os
from typing import Any, Final

import pytest

from tests.services import run_python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")

# Since Python 3.12, forking a process that has threads warns that this may go wrong; that it does not is tested here.
MAY_FORK: Final = ("-W", "ignore:This process:DeprecationWarning")

PRELUDE: Final = """
import faulthandler, json, os, signal, threading, telemetrix
from prometheus_client import REGISTRY, generate_latest
from telemetrix.bus import default_bus
from telemetrix.telemetry.setup import _installed

telemetrix.configure(logging=False)
metrics = _installed._subscriptions["metrics"].subscriber
breaker = telemetrix.CircuitBreaker(1, 60, name="shared")
guarded = telemetrix.retry(1, name="f")(lambda: None)
guarded_too = telemetrix.fallback(0, name="g")(lambda: 1 / 0)

def count(name, **labels):
    families = REGISTRY.collect()
    return sum(s.value for f in families for s in f.samples if s.name == name and labels.items() <= s.labels.items())

def calls():
    return {name: count("telemetrix_calls_total", operation=name) for name in "fg"}

faulthandler.register(signal.SIGALRM, chain=True)

def in_child(work):
    # What it returns in a child process, which has ten seconds; where it hangs is printed.
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        os.write(writer, json.dumps(work()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"child ended with {status}"
    return json.loads(text)
"""


# A child that forks while a thread of its parent is being measured hangs in the measuring: coverage renews no locks.
UNMEASURED: Final = {"COVERAGE_PROCESS_CONFIG": "", "COVERAGE_PROCESS_START": ""}


def run(code: str) -> Any:
    return run_python(PRELUDE + code, options=MAY_FORK, env=UNMEASURED)


def test_child__calling_on__counts_for_itself_from_where_the_parent_was() -> None:
    seen = run("""
def work():
    for _ in range(3):
        guarded(), guarded_too()
    return calls()

for _ in range(5):
    guarded(), guarded_too()
child = in_child(work)
guarded()
print(json.dumps({"child": child, "parent": calls()}))
""")
    assert seen == {"child": {"f": 8, "g": 8}, "parent": {"f": 6, "g": 5}}


def test_child__of_a_child__counts_too() -> None:
    seen = run("""
def work():
    guarded()
    return [calls(), in_child(lambda: (guarded(), calls())[1])]

guarded()
print(json.dumps(in_child(work)))
""")
    assert seen == [{"f": 2, "g": 0}, {"f": 3, "g": 0}]


def test_child__locks_held_by_a_thread_of_the_parent__does_everything_without_waiting() -> None:
    seen = run("""
locks = [default_bus._lock, breaker._lock]  # a fork waits for the metrics, see below
held, let_go = threading.Event(), threading.Event()

def hold():
    for lock in locks:
        lock.acquire()
    held.set()
    let_go.wait()
    for lock in reversed(locks):
        lock.release()

def work():
    guarded(), guarded_too()
    telemetrix.retry(1, name="made in the child")(lambda: None)()
    breaker.open()
    generate_latest(REGISTRY)
    is_open = count("telemetrix_circuit_state", circuit="shared", state="open")
    try:
        telemetrix.timeout(5)(guarded)()
    finally:
        return [calls(), count("telemetrix_calls_total", operation="made in the child"), is_open]

holder = threading.Thread(target=hold)
holder.start()
held.wait()
child = in_child(work)
let_go.set()
holder.join()
print(json.dumps(child))
""")
    assert seen == [{"f": 2, "g": 1}, 1, 1]


def test_child__forked_in_the_middle_of_a_scrape__can_scrape() -> None:
    seen = run("""
family = metrics._metrics["telemetrix_calls_total"]
collect = family.collect
reading = threading.Event()

def slowly():  # as prometheus_client does when it copies the children of a family, only longer
    with family._lock:
        reading.set()
        threading.Event().wait(0.3)
    return collect()

def work():
    guarded()
    breaker.open()
    telemetrix.retry(1, name="made in the child")(lambda: None)()
    return calls()

family.collect = slowly
scraper = threading.Thread(target=generate_latest, args=(REGISTRY,))
scraper.start()
reading.wait()
family.collect = collect
child = in_child(work)
scraper.join()
print(json.dumps([child, calls()]))
""")
    assert seen == [{"f": 1, "g": 0}, {"f": 0, "g": 0}]


def test_child__while_parents_threads_call_and_scrape__calls_never_hang() -> None:
    seen = run("""
over = threading.Event()

def scrape():
    while not over.is_set():
        generate_latest(REGISTRY)

def call():
    while not over.is_set():
        guarded(), guarded_too()

def work():
    return [guarded(), guarded_too(), breaker.call(bool)]

threads = [threading.Thread(target=body) for body in (scrape, call)]
for thread in threads:
    thread.start()
try:
    answers = [in_child(work) for _ in range(30)]
finally:
    over.set()
for thread in threads:
    thread.join()
print(json.dumps(answers))
""")
    assert seen == [[None, 0, False]] * 30


def test_child__timeout_after_the_parent_has_used_its_workers__gets_workers_of_its_own() -> None:
    seen = run("""
limited = telemetrix.timeout(5, name="limited")(lambda: os.getpid())
limited()
print(json.dumps(in_child(lambda: limited() == os.getpid())))
""")
    assert seen is True


def test_child__forked_while_a_thread_is_abandoned__does_not_claim_that_thread() -> None:
    seen = run("""
go_on = threading.Event()
limited = telemetrix.timeout(0.01, name="limited")(go_on.wait)
try:
    limited()
except TimeoutError:
    pass
gauge = lambda: count("telemetrix_timeouts_abandoned_threads", operation="limited")
child = in_child(gauge)
parent = gauge()
go_on.set()
print(json.dumps([parent, child]))
""")
    assert seen == [1, 0]
