"""Threads that run guarded work while its caller waits with a limit; reused, and none keeps a program alive."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from contextvars import Context
from queue import Empty, SimpleQueue
from typing import Any, Final

from telemetrix.locks import survive_fork

IDLE_SECONDS: Final = 30.0
"""A worker without work for that long ends."""

_numbers = itertools.count(1)


class Job:
    """A piece of work on its way through a worker.

    Attributes:
        done: set when the work has ended and nobody has abandoned it.
        result, error: how it ended.
    """

    __slots__ = ("_context", "_lock", "_work", "abandoned", "done", "error", "on_late_end", "result")

    def __init__(
        self, context: Context, work: Callable[[], Any], on_late_end: Callable[[BaseException | None], None]
    ) -> None:
        self._context = context
        self._work = work
        self._lock = threading.Lock()
        self.on_late_end = on_late_end
        self.done = threading.Event()
        self.abandoned = False
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Do the work; never raises."""
        result, error = None, None
        try:
            result = self._context.run(self._work)
        except BaseException as caught:  # noqa: BLE001 - handed to the waiting caller, whatever it is
            error = caught
        with self._lock:
            late = self.abandoned
            if not late:
                self.result, self.error = result, error
                self.done.set()
        if late:
            self._context.run(self.on_late_end, error)
        # The error's traceback leads back to this frame, and from here to the arguments.
        del result, error

    def abandon(self) -> bool:
        """Stop waiting: whether the work is really left behind, or was just done."""
        with self._lock:
            self.abandoned = not self.done.is_set()
            return self.abandoned


class WorkerPool:
    """Hands jobs to idle workers and starts new ones when there is none."""

    def __init__(self) -> None:
        self._idle: list[SimpleQueue[Job]] = []
        self._lock = threading.Lock()
        survive_fork(self)

    def submit(self, job: Job) -> None:
        """Have the job run at once."""
        with self._lock:
            idle = self._idle.pop() if self._idle else None
        inbox: SimpleQueue[Job] = idle or SimpleQueue()
        if idle is None:
            name = f"telemetrix-timeout-{next(_numbers)}"
            threading.Thread(target=self._work, args=(inbox,), name=name, daemon=True).start()
        inbox.put(job)

    def _work(self, inbox: SimpleQueue[Job]) -> None:
        while True:
            try:
                job = inbox.get(timeout=IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if inbox in self._idle:
                        self._idle.remove(inbox)
                        return
                continue  # a job was being handed over at this very moment
            job.run()
            del job  # an idle worker must not keep the last result alive
            with self._lock:
                self._idle.append(inbox)

    def renew_locks(self) -> None:
        """After a fork: the child has none of the threads."""
        self._lock = threading.Lock()
        self._idle = []
