"""Locks survive a fork: a child in which another thread's lock was held goes on working."""

from __future__ import annotations

import gc
import os
import textwrap
import weakref
from typing import Any

import pytest

from telemetrix import locks
from tests.services import run_python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")

PRELUDE = """
import json, os, threading, time, warnings
import logging
logging.getLogger("telemetrix").addHandler(logging.NullHandler())
warnings.simplefilter("ignore", DeprecationWarning)  # forking beside other threads is the case
import telemetrix
from prometheus_client import REGISTRY, generate_latest
from telemetrix.bus import default_bus
from telemetrix.telemetry.metrics import PrometheusMetrics

breaker = telemetrix.CircuitBreaker(1, 30.0, name="forked")
metrics = next(s.subscriber for s in default_bus._subscriptions if isinstance(s.subscriber, PrometheusMetrics))
outcomes = []

@telemetrix.retry(2, 0, name="forked")
def flaky():
    outcomes.append(len(outcomes))
    if len(outcomes) % 2:
        raise ValueError
    return "done"

def use_everything():
    assert flaky() == "done"
    breaker.reset()
    try:
        breaker.call(lambda: 1 / 0)
    except ZeroDivisionError:
        pass
    assert breaker.state is telemetrix.CircuitState.OPEN
    telemetrix.subscribe(lambda event: None).close()
    assert telemetrix.timeout(30)(lambda: 7)() == 7
    labels = 'operation="forked",outcome="success",primitive="retry",reason="recovered"'
    assert f"telemetrix_calls_total{{{labels}}}" in generate_latest(REGISTRY).decode()

def in_child(work):
    pid = os.fork()
    if not pid:
        try:
            work()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return pid

def end_of(pid):
    for _ in range(200):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return "it hangs"

use_everything()
"""


def run_forking(body: str) -> Any:
    """What a fresh interpreter printed that ran the prelude and the body."""
    return run_python(PRELUDE + textwrap.dedent(body), within=40)


def test_fork__other_thread_holds_every_lock__child_goes_on_working() -> None:
    assert (
        run_forking(
            """
        held, release = threading.Event(), threading.Event()

        def hold():
            # Not the metrics' own: a fork waits for that one, so that no child inherits prometheus_client's in use.
            with default_bus._lock, breaker._lock, metrics._circuits._lock:
                held.set()
                release.wait(30)

        thread = threading.Thread(target=hold)
        thread.start()
        assert held.wait(10)
        pid = in_child(use_everything)
        ended = end_of(pid)
        release.set()
        thread.join(10)
        use_everything()
        print(json.dumps(ended))
        """
        )
        == 0
    )


def test_fork__without_renewing__child_hangs_so_the_test_above_can_fail() -> None:
    assert (
        run_forking(
            """
        from telemetrix import locks

        held, release = threading.Event(), threading.Event()

        def hold():
            with default_bus._lock:
                held.set()
                release.wait(30)

        def ask_for_the_lock():
            os._exit(7 if default_bus._lock.acquire(timeout=0.2) else 3)

        locks._owners.clear()
        thread = threading.Thread(target=hold)
        thread.start()
        assert held.wait(10)
        ended = end_of(in_child(ask_for_the_lock))
        release.set()
        thread.join(10)
        print(json.dumps(ended))
        """
        )
        == 3
    )


def test_fork__forking_thread_is_inside_a_call__both_processes_end_it_as_their_own() -> None:
    assert (
        run_forking(
            """
        def leave_and_use():
            block.__exit__(None, None, None)
            use_everything()

        breaker.reset()
        block = breaker.__enter__()
        pid = in_child(leave_and_use)
        ended = end_of(pid)
        leave_and_use()
        print(json.dumps(ended))
        """
        )
        == 0
    )


class Owner:
    def __init__(self) -> None:
        self.renewed = 0

    def renew_locks(self) -> None:
        self.renewed += 1


def test_survive_fork__owner__is_renewed_in_a_child_and_held_weakly() -> None:
    owner = Owner()
    locks.survive_fork(owner)
    locks._renew_all()  # noqa: SLF001 - what the interpreter calls in a child
    assert owner.renewed == 1
    reference = weakref.ref(owner)
    del owner
    gc.collect()
    assert reference() is None
    locks._renew_all()  # noqa: SLF001
