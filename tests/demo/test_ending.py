"""How the demonstration ends: by itself, by a signal, by a reader that leaves; and what it refuses to begin."""

from __future__ import annotations

import math
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import telemetrix
from telemetrix.demo import run
from telemetrix.demo.director import DEFAULT_PORT
from tests.demo.running import command, environment, running
from tests.services import LOOPBACK, poll, run_python

RUN_AND_LOOK = """
import contextlib, gc, io, json, os, threading
from prometheus_client import REGISTRY
from telemetrix.demo import run

def sockets():
    held = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    return sum(os.path.exists(path) and os.readlink(path).startswith("socket:") for path in held)

def total(name, **labels):
    return int(sum(
        sample.value for family in REGISTRY.collect() for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ))

before = sockets()
out = io.StringIO()
with contextlib.redirect_stdout(out):
    code = run(3.0, 0)
print(json.dumps({
    "code": code,
    "threads": [t.name for t in threading.enumerate() if not t.name.startswith(("MainThread", "telemetrix-timeout"))],
    "sockets": sockets() - before,
    "out": out.getvalue(),
    "recovered": total("telemetrix_calls_total", primitive="retry", reason="recovered"),
    "served": total("telemetrix_calls_total", primitive="fallback", outcome="fallback"),
    "rejected": total("telemetrix_calls_total", primitive="circuit_breaker", outcome="rejected"),
    "rollbacks": total(
        "telemetrix_attempts_total", operation="telemetrix.demo.orders.save", outcome="failure"
    ),
    "orders": total("telemetrix_calls_total", primitive="retry", operation="telemetrix.demo.orders.reserve"),
}))
"""


@pytest.fixture(scope="module")
def looked() -> Any:
    return run_python(RUN_AND_LOOK)


@pytest.mark.slow
def test_run__in_a_process_that_goes_on__leaves_no_thread_and_no_socket(looked: Any) -> None:
    assert (looked["code"], looked["threads"], looked["sockets"]) == (0, [], 0)


@pytest.mark.slow
def test_run__at_its_end__summary_says_what_the_metrics_say(looked: Any) -> None:
    assert f"{looked['recovered']} by retry, {looked['served']} by fallback" in looked["out"]
    assert f"spared    {looked['rejected']} attempt" in looked["out"]
    assert f"undone    {looked['rollbacks']} transaction" in looked["out"]
    assert f"noticed   {looked['orders']} order" in looked["out"]


@pytest.mark.slow
def test_run__a_second_time_in_one_process__counts_from_its_own_start() -> None:
    code = """
import contextlib, io, json
from telemetrix.demo import run
texts = []
for _ in range(2):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        run(1.5, 0)
    texts.append(out.getvalue())
print(json.dumps(texts))
"""
    for text in run_python(code):
        orders = int(text[text.rindex("noticed") :].split()[1])
        assert 5 < orders < 80
        assert "by hand" not in text


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_demo__interrupted__ends_at_once_with_the_summary_and_frees_everything(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running(tmp_path) as demo:
        poll(lambda: "orders=" in demo.out)
        demo.send(number)
        code, seconds = demo.wait(within=15)
    assert (code, demo.err) == (0, "")
    assert seconds < 5
    assert "noticed " in demo.out
    assert list(demo.scratch.iterdir()) == []
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended may linger
        other.bind((LOOPBACK, demo.port))


@pytest.mark.slow
def test_demo__reader_leaves_after_one_line__ends_in_silence(tmp_path: Path) -> None:
    with subprocess.Popen(  # noqa: S603 - our own interpreter and code
        command("--port", "0", "--seconds", "20"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(tmp_path),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"telemetrix demo: ")
        process.stdout.close()
        assert process.wait(15) == 0
        assert process.stderr.read() == b""


def test_run__port_taken__is_2_with_one_line_that_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        assert run(1.0, port) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"telemetrix demo: port {port} on 127.0.0.1 is taken by another program;"
        " choose another one with --port (0: any free one)\n"
    )


def test_run__port_not_given__is_always_the_same_one() -> None:
    assert DEFAULT_PORT == 8642


@pytest.mark.parametrize("seconds", [0, -1, -0.0, math.nan, math.inf])
def test_run__seconds_out_of_range__is_refused_with_what_is_allowed(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"seconds=.* is not allowed: a finite number of seconds, more than 0"):
        run(seconds, 0)


@pytest.mark.parametrize("port", [-1, 65536])
def test_run__port_out_of_range__is_refused_with_what_is_allowed(port: int) -> None:
    with pytest.raises(ValueError, match=r"port=.* is not allowed: 1 to 65535, or 0"):
        run(1.0, port)


def test_run__spans_wanted_but_extra_not_installed__names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.delitem(sys.modules, "telemetrix.demo.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(telemetrix.MissingExtraError, match=r"telemetrix-resilience\[demo\]"):
        run(1.0, 0)
