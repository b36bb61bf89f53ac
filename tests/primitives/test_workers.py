from __future__ import annotations

import contextvars
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from telemetrix import timeout
from telemetrix.events import AbandonedWorkFinished, TimeoutExpired
from telemetrix.primitives import _workers
from telemetrix.primitives._workers import Job, WorkerPool
from telemetrix.testing import CapturedTelemetry

PATIENCE = 10


def make_job(work: Callable[[], Any], late: list[BaseException | None] | None = None) -> Job:
    return Job(contextvars.copy_context(), work, (late if late is not None else []).append)


def fail() -> None:
    raise KeyboardInterrupt


class Idle(list[Any]):
    """A pool's idle workers; says when one has become idle."""

    def __init__(self) -> None:
        super().__init__()
        self.became_idle = threading.Semaphore(0)

    def append(self, inbox: Any) -> None:
        super().append(inbox)
        self.became_idle.release()


@pytest.fixture
def idle() -> Idle:
    return Idle()


@pytest.fixture
def pool(idle: Idle) -> WorkerPool:
    made = WorkerPool()
    made._idle = idle  # noqa: SLF001
    return made


def run(pool: WorkerPool, work: Callable[[], Any]) -> Any:
    job = make_job(work)
    pool.submit(job)
    assert job.done.wait(PATIENCE)
    return job.result


# A job


def test_job_run_keeps_the_result() -> None:
    job = make_job(lambda: "result")
    assert not job.done.is_set()
    job.run()
    assert (job.done.is_set(), job.result, job.error) == (True, "result", None)


def test_job_run_keeps_any_error_and_raises_none() -> None:
    job = make_job(fail)
    job.run()
    assert (job.done.is_set(), job.result, type(job.error)) == (True, None, KeyboardInterrupt)


def test_job_run_works_in_the_context_it_was_given() -> None:
    variable = contextvars.ContextVar("variable", default="outside")
    context = contextvars.copy_context()
    context.run(variable.set, "inside")
    job = Job(context, variable.get, lambda _: None)
    job.run()
    assert job.result == "inside"


def test_job_abandoned_while_it_runs_tells_its_late_end_and_drops_the_result() -> None:
    late: list[BaseException | None] = []

    def work() -> str:
        assert job.abandon() is True
        return "result"

    job = make_job(work, late)
    job.run()
    assert late == [None]
    assert (job.done.is_set(), job.result) == (False, None)


def test_job_abandoned_and_failed_tells_the_error_as_its_late_end() -> None:
    late: list[BaseException | None] = []
    job = make_job(fail, late)
    job.abandon()
    job.run()
    assert [type(error) for error in late] == [KeyboardInterrupt]
    assert job.error is None


def test_job_abandoned_after_its_end_was_not_abandoned() -> None:
    late: list[BaseException | None] = []
    job = make_job(lambda: "result", late)
    job.run()
    assert job.abandon() is False
    assert (job.result, late) == ("result", [])


# The pool


def test_pool_idle_worker_takes_the_next_job(pool: WorkerPool, idle: Idle) -> None:
    first = run(pool, threading.get_ident)
    assert idle.became_idle.acquire(timeout=PATIENCE)
    assert run(pool, threading.get_ident) == first


def test_pool_busy_workers_the_next_job_gets_a_thread_of_its_own(pool: WorkerPool) -> None:
    barrier = threading.Barrier(3)

    def meet() -> int:
        barrier.wait(PATIENCE)
        return threading.get_ident()

    jobs = [make_job(meet) for _ in range(3)]
    for job in jobs:
        pool.submit(job)
    assert all(job.done.wait(PATIENCE) for job in jobs)
    assert len({job.result for job in jobs}) == 3


def test_pool_worker_of_abandoned_work_is_used_again_after_its_late_end(pool: WorkerPool, idle: Idle) -> None:
    gate = threading.Event()
    threads: list[int] = []

    def hang() -> None:
        threads.append(threading.get_ident())
        gate.wait(PATIENCE)

    job = make_job(hang)
    pool.submit(job)
    assert job.abandon()
    gate.set()
    assert idle.became_idle.acquire(timeout=PATIENCE)
    assert run(pool, threading.get_ident) == threads[0]


def test_pool_worker_without_work_ends(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_workers, "IDLE_SECONDS", 0.001)
    worker: threading.Thread = run(pool, threading.current_thread)
    worker.join(PATIENCE)
    assert not worker.is_alive()
    assert run(pool, threading.current_thread) is not worker


def test_pool_worker_that_is_handed_a_job_just_when_it_would_end_does_the_job(pool: WorkerPool, idle: Idle) -> None:
    job = make_job(lambda: "done")

    class Inbox(SimpleQueue[Job]):
        answers = iter([Empty, job, Empty])

        def get(self, block: bool = True, timeout: float | None = None) -> Job:
            answer = next(self.answers)
            if isinstance(answer, Job):
                return answer
            raise Empty

    inbox = Inbox()
    pool._work(inbox)  # noqa: SLF001 - not idle at the first Empty: somebody has just taken it out
    assert job.result == "done"
    assert inbox not in idle


def test_pool_after_a_fork_hands_nothing_to_workers_of_the_parent(pool: WorkerPool, idle: Idle) -> None:
    first = run(pool, threading.get_ident)
    assert idle.became_idle.acquire(timeout=PATIENCE)
    pool.renew_locks()
    assert run(pool, threading.get_ident) != first


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_timeout_in_a_forked_child_whose_parent_had_idle_workers_runs(tmp_path: Path) -> None:
    script = tmp_path / "forks.py"
    script.write_text(
        "import os, signal\n"
        "from telemetrix import timeout\n"
        "pid = timeout(seconds=30)(os.getpid)\n"
        "assert pid() == os.getpid()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    signal.alarm(20)\n"
        "    os._exit(0 if pid() == os.getpid() else 1)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(  # noqa: S603 - this interpreter, our script
        [sys.executable, script], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr


def test_timeout_no_thread_can_be_started_raises_that_error_and_abandons_nothing(
    monkeypatch: pytest.MonkeyPatch, telemetrix_capture: CapturedTelemetry
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("telemetrix.primitives.timeout._workers", WorkerPool())
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        timeout(seconds=5, name="op")(lambda: None)()
    assert telemetrix_capture.of(AbandonedWorkFinished) == []
    assert telemetrix_capture.of(TimeoutExpired) == []
    assert telemetrix_capture.metric("telemetrix_timeouts_abandoned_threads", operation="op") == 0
