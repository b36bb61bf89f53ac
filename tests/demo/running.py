"""Runs the demonstration as a program of its own, as people do."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.services import LOOPBACK, ROOT, poll


class Demo:
    """A demonstration under way.

    Attributes:
        port: where its order service listens.
        scratch: where it keeps temporary files.
    """

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self._folder = folder
        self.scratch = folder / "scratch"
        self.port = 0

    @property
    def out(self) -> str:
        """What it has written so far."""
        return (self._folder / "out").read_text()

    @property
    def err(self) -> str:
        """What it has complained about so far."""
        return (self._folder / "err").read_text()

    def find_port(self) -> bool:
        """Read the port from its first line."""
        assert self._process.poll() is None, self.err
        found = re.search(rf"http://{LOOPBACK}:(\d+)/metrics", self.out)
        self.port = int(found[1]) if found else 0
        return bool(found)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self, within: float) -> tuple[int, float]:
        """Its exit code, and the seconds it took from now."""
        began = time.monotonic()
        return self._process.wait(within), time.monotonic() - began


def environment(folder: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment that asks for no spans, with a folder for temporary files of its own."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return {**inherited, "TMPDIR": str(scratch), "PYTHONPATH": str(ROOT), **(extra or {})}


def command(*arguments: str) -> list[str]:
    """The demonstration's command line."""
    return [sys.executable, "-W", "error", "-m", "telemetrix", "demo", *arguments]


@contextmanager
def running(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Generator[Demo]:
    """The demonstration on a free port, at the least for the length of the block."""
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
            command("--port", "0", *arguments),
            stdout=out,
            stderr=err,
            env=environment(folder, env),
        )
        try:
            demo = Demo(process, folder)
            poll(demo.find_port)
            yield demo
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
