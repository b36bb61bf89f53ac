"""The view in a terminal: a pseudo-terminal for the whole program, and single screens at odd sizes."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import subprocess
import termios
import time
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from telemetrix.demo.journal import Journal
from telemetrix.demo.live import LiveView
from telemetrix.demo.orders import GUARDED, inventory, payments
from telemetrix.demo.phases import Script
from telemetrix.demo.readings import CircuitTally, Reading, Report, Tally
from telemetrix.demo.scene import Scene, Slice
from telemetrix.demo.traffic import Noticed
from tests.demo.running import command, environment

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


def in_a_terminal(folder: Path, *arguments: str, term: str, **env: str) -> tuple[int, str]:
    """Exit code and everything that was written to a terminal of 80 columns and 24 lines."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    variables = environment(folder, {"TERM": term, "LANG": "C.UTF-8", "PYTHONUTF8": "1", **env})
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_INTERACTIVE", "TTY_COMPATIBLE"):
        if name not in env:
            variables.pop(name, None)
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
        command("--port", "0", *arguments), stdin=terminal, stdout=terminal, stderr=terminal, env=variables
    )
    os.close(terminal)
    written = bytearray()
    until = time.monotonic() + 30
    try:
        while time.monotonic() < until:
            try:
                written += os.read(controller, 65536)
            except OSError:  # the other side has closed it
                break
        return process.wait(10), written.decode()
    finally:
        os.close(controller)
        process.kill()
        process.wait()


@pytest.mark.slow
def test_demo__in_a_terminal__draws_on_a_screen_of_its_own_and_leaves_the_summary(tmp_path: Path) -> None:
    code, written = in_a_terminal(tmp_path, "--seconds", "3", term="xterm-256color")
    assert code == 0
    before, drawn, after = written[: written.index(ENTER)], written[: written.index(LEAVE)], written.partition(LEAVE)[2]
    assert before.strip() == ""
    for shown in ("|healthy", "|flaky", "charge fails", "payments", "● CLOSED", "rollbacks", "/metrics"):
        assert shown in drawn
    assert "telemetrix demo: 3" in after
    assert "noticed " in after
    assert ENTER not in after
    assert "Traceback" not in written


@pytest.mark.slow
@pytest.mark.parametrize(
    ("term", "encoding"), [("dumb", "utf-8"), ("xterm-256color", "latin-1")], ids=["dumb", "no unicode"]
)
def test_demo__in_a_terminal_that_cannot_draw__writes_plain_lines(tmp_path: Path, term: str, encoding: str) -> None:
    code, written = in_a_terminal(tmp_path, "--seconds", "1.5", term=term, PYTHONIOENCODING=encoding)
    assert code == 0
    assert "\x1b" not in written
    assert "== flaky: " in written
    assert "noticed " in written


@pytest.mark.slow
def test_demo__without_colours_wanted__draws_without_colours(tmp_path: Path) -> None:
    code, written = in_a_terminal(tmp_path, "--seconds", "1.5", term="xterm-256color", NO_COLOR="1")
    assert code == 0
    assert ENTER in written
    assert not any(f"\x1b[{colour}m" in written for colour in range(30, 38))


def scene() -> Scene:
    reading = Reading.take()
    return Scene(
        elapsed=75.0,
        seconds=None,
        moment=Script(60.0).at(75.0),
        report=Report(
            {name: Tally.of(function, reading) for name, function in GUARDED.items()},
            (CircuitTally.of(payments.name, reading), CircuitTally.of(inventory.name, reading)),
        ),
        noticed=Counter({Noticed.AT_ONCE: 1_000_000, Noticed.FAILED: 3}),
        p95=0.123,
        slices=(Slice(0.0, 0.0), Slice(0.01, 0.0), Slice(1.0, 0.5)),
        journal=Journal(),
        address="http://127.0.0.1:8642",
        spans="12 spans sent to http://127.0.0.1:4318",
    )


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 10), (10, 3), (1, 1), (300, 100)])
def test_live_view__any_size__draws_no_line_beyond_the_screen(size: tuple[int, int]) -> None:
    width, height = size
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, height=height, color_system=None, _environ={})
    with LiveView(console) as view:
        out.truncate(out.seek(0))
        view.show(scene())
        drawn = out.getvalue()
    lines = drawn.replace("\x1b[H", "").splitlines()
    assert len(lines) == height
    assert max(map(len, lines)) <= width or width == 1  # rich cannot cut a line to one column


def test_live_view__eighty_by_twenty_four__shows_everything_uncut() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=24, color_system=None, _environ={})
    with LiveView(console) as view:
        out.truncate(out.seek(0))
        view.show(scene())
        drawn = out.getvalue()
    assert "…" not in drawn
    assert "cycle 2   1:15   Ctrl-C ends it" in drawn
    assert "charge fails   ▁█" in drawn
    assert "http://127.0.0.1:8642/metrics   12 spans sent to http://127.0.0.1:4318" in drawn
