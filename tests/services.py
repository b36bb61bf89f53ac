"""What tests of real things need: programs started on free loopback ports, polled with a deadline, always stopped."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

T = TypeVar("T")

LOOPBACK: Final = "127.0.0.1"
ROOT: Final = Path(__file__).parent.parent


def poll(look: Callable[[], T | None], *, within: float = 20.0, every: float = 0.02) -> T:
    """What `look` returns as soon as it is neither None nor False nor empty; TimeoutError after `within` seconds."""
    until = time.monotonic() + within
    while not (found := look()):
        if time.monotonic() > until:
            raise TimeoutError(f"{look} found nothing within {within} s")
        time.sleep(every)
    return found


def program(name: str, package: str) -> str:
    """Where a program is. Without it the test is skipped, or fails where services are required."""
    found = shutil.which(name)
    if found is None:
        reason = f"{name} is not installed: apt-get install {package}"
        if os.environ.get("TELEMETRIX_REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def fetch(port: int, path: str, *, accept: str = "*/*") -> tuple[int, str]:
    """Status and body of a GET on loopback; goes through no proxy."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    try:
        connection.request("GET", path, headers={"Accept": accept})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def run_python(
    code: str, *arguments: str, env: Mapping[str, str] | None = None, within: float = 30.0, options: Sequence[str] = ()
) -> Any:
    """Run code in a fresh interpreter, warnings as errors; what it printed, read as JSON.

    When its time is up, its whole process group ends, so that nothing it forked lives on.
    """
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-W", "error", *options, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=within)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    assert process.returncode == 0, f"exit code {process.returncode}\n{out}\n{err}"
    assert err == ""
    return json.loads(out)


class Prometheus:
    """A running Prometheus server."""

    def __init__(self, port: int) -> None:
        self.port = port

    def api(self, path: str, **parameters: str) -> Any:
        """The data of an API answer; AssertionError with the server's text if it is an error."""
        _, body = fetch(self.port, f"/api/v1/{path}?{urlencode(parameters)}")
        answer = json.loads(body)
        assert answer["status"] == "success", body
        return answer["data"]

    def query(self, promql: str) -> list[tuple[dict[str, str], float]]:
        """The vector that an expression gives now."""
        return [(row["metric"], float(row["value"][1])) for row in self.api("query", query=promql)["result"]]

    def exemplars(self, promql: str) -> list[dict[str, str]]:
        """The labels of the exemplars of the last minute."""
        now = time.time()
        data = self.api("query_exemplars", query=promql, start=str(now - 60), end=str(now + 60))
        return [exemplar["labels"] for series in data for exemplar in series["exemplars"]]


@contextmanager
def prometheus(folder: Path, target_port: int) -> Generator[Prometheus]:
    """A Prometheus that scrapes `target_port` every second and keeps exemplars."""
    binary = program("prometheus", "prometheus")
    config = folder / "prometheus.yml"
    config.write_text(
        json.dumps(  # JSON is YAML
            {
                "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
                "scrape_configs": [
                    {"job_name": "workload", "static_configs": [{"targets": [f"{LOOPBACK}:{target_port}"]}]}
                ],
            }
        )
    )
    port = free_port()
    log = folder / "prometheus.log"
    with log.open("w") as sink:
        server = subprocess.Popen(  # noqa: S603 - found by `program`
            [
                binary,
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={LOOPBACK}:{port}",
                "--enable-feature=exemplar-storage",
                "--log.level=warn",
            ],
            stdout=sink,
            stderr=sink,
        )
        try:
            poll(lambda: _is_ready(server, port, log))
            yield Prometheus(port)
        finally:
            _stop(server)


def _is_ready(server: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    assert server.poll() is None, f"prometheus ended\n{log.read_text()}"
    try:
        return fetch(port, "/-/ready")[0] == http.HTTPStatus.OK
    except OSError:
        return False


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait(10)


class OtlpReceiver:
    """An OpenTelemetry collector's front door: takes spans over OTLP/HTTP and keeps them.

    Attributes:
        endpoint: where to send them.
        scopes: the instrumentation scopes' names and versions.
        resources: the attributes of the resources, one per request.
    """

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://{LOOPBACK}:{port}/v1/traces"
        self.scopes: set[tuple[str, str]] = set()
        self.resources: list[dict[str, str]] = []
        self._spans: list[Span] = []
        self._lock = threading.Lock()

    @property
    def spans(self) -> list[Span]:
        """What has arrived so far."""
        with self._lock:
            return list(self._spans)

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Keep the spans of one request."""
        with self._lock:
            for resource_spans in request.resource_spans:
                attributes = {entry.key: entry.value.string_value for entry in resource_spans.resource.attributes}
                self.resources.append(attributes)
                for scope_spans in resource_spans.scope_spans:
                    self.scopes.add((scope_spans.scope.name, scope_spans.scope.version))
                    self._spans.extend(scope_spans.spans)


@contextmanager
def otlp_receiver() -> Generator[OtlpReceiver]:
    """An `OtlpReceiver` that listens for the length of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.take(ExportTraceServiceRequest.FromString(body))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(http.HTTPStatus.OK)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
            pass

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        receiver = OtlpReceiver(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join(10)
