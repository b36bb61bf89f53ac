"""Metrics of several worker processes in one scrape, as under gunicorn; right also after a worker has died.

Run it: python examples/multiprocess_metrics.py
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile

CALLS = 5


def serve(number: int, *, dies: bool) -> None:
    """A worker: makes its calls, then ends by itself or is killed."""
    # prometheus_client looks for PROMETHEUS_MULTIPROC_DIR when it is imported, so the variable must be set by then.
    from telemetrix import retry  # noqa: PLC0415

    failures = [ConnectionError] * number

    @retry(max_attempts=4, delay=0, name="work")
    def work() -> None:
        if failures:
            raise failures.pop()

    for _ in range(CALLS):
        work()
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        processes = multiprocessing.get_context("spawn")
        workers = [processes.Process(target=serve, args=(number,), kwargs={"dies": number == 2}) for number in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        print("exit codes:", [worker.exitcode for worker in workers])

        from prometheus_client import CollectorRegistry, multiprocess  # noqa: PLC0415 - as above

        for worker in workers:  # the gauges of a dead worker go, its counters stay
            multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        for reason in ("first_try", "recovered"):
            labels = {"primitive": "retry", "operation": "work", "outcome": "success", "reason": reason}
            print(f"{reason}:", registry.get_sample_value("telemetrix_calls_total", labels))


if __name__ == "__main__":
    main()
