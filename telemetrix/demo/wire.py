"""HTTP over real sockets: a server that can be stopped, and a client that keeps its connections.

Only the standard library, so that the demonstration needs nothing that is not there. Both ends make the span of their
side of a request and carry the trace across (W3C Trace Context).
"""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, Final, cast

from opentelemetry import propagate
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from telemetrix import get_logger, remaining

HOST: Final = "127.0.0.1"

MAX_CONNECTIONS: Final = 128
"""More are turned away, so that nobody can make a demonstration eat the machine."""

MAX_BODY: Final = 64 * 1024
"""Bytes a request may carry."""

SERVER_ERROR: Final = 500

_JSON: Final = "application/json"
_log = get_logger("telemetrix.demo.wire")


class ServiceUnavailableError(ConnectionError):
    """The other side answered, but not with what was asked for."""


class HangUpError(Exception):
    """Raised by an application that wants the connection closed without an answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """What came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            ValueError: it is none.
        """
        value: Any = json.loads(self.body)
        if not isinstance(value, dict):
            raise ValueError("a JSON object is expected")  # noqa: TRY004 - the text is wrong, not its type
        return cast("dict[str, Any]", value)


@dataclass(frozen=True, slots=True)
class Response:
    """What goes out."""

    status: int
    body: bytes
    content_type: str = _JSON
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(cls, status: int, payload: Mapping[str, Any], **headers: str) -> Response:
        """A JSON answer; underscores in the names of headers become hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, json.dumps(payload).encode(), headers=named)


Application = Callable[[Request], Response]


class _Handler(BaseHTTPRequestHandler):
    """Serves the requests of one connection."""

    protocol_version = "HTTP/1.1"
    server_version = "telemetrix-demo"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one piece

    def __init__(self, application: Application, tracer: Tracer, idle_seconds: float | None, *args: Any) -> None:
        self._application = application
        self._tracer = tracer
        self._idle_seconds = idle_seconds
        super().__init__(*args)  # serves the connection

    def setup(self) -> None:
        """A connection begins."""
        super().setup()
        self.connection.settimeout(self._idle_seconds)

    def _serve(self) -> None:
        length = self._length()
        if length is None:
            self.close_connection = True
            self._send(Response.of(400, {"error": f"Content-Length must be a number up to {MAX_BODY}"}))
            return
        request = Request(self.command, self.path, dict(self.headers.items()), self.rfile.read(length))
        path = request.path.partition("?")[0]
        with self._tracer.start_as_current_span(
            f"{request.method} {path}",
            context=propagate.extract(request.headers),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": request.method, "url.path": path},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                response = self._application(request)
            except HangUpError:
                _failed(span, "hang_up")
                self.close_connection = True
                return
            span.set_attribute("http.response.status_code", response.status)
            if response.status >= SERVER_ERROR:
                _failed(span, str(response.status))
        self._send(response)

    do_GET = do_POST = _serve  # noqa: N815 - the names that http.server looks for

    def _length(self) -> int | None:
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            return None
        return length if 0 <= length <= MAX_BODY and "Transfer-Encoding" not in self.headers else None

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        for name, value in response.headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(response.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: the terminal belongs to the view."""


def _failed(span: Span, error_type: str) -> None:
    span.set_attribute("error.type", error_type)
    span.set_status(Status(StatusCode.ERROR))


class Server(ThreadingTCPServer):
    """An HTTP server on loopback, a thread per connection, all of which `stop` ends.

    Parameters:
        name: what its threads are called.
        application: answers requests, in many threads at once.
        tracer: makes the server spans.
        port: where to listen; 0 is any free port.
        idle_seconds: how long a connection may be silent; None is for ever.

    Raises:
        OSError: the port cannot be had.
    """

    allow_reuse_address = True
    allow_reuse_port = False
    request_queue_size = 64
    daemon_threads = True

    def __init__(
        self,
        name: str,
        application: Application,
        tracer: Tracer,
        port: int = 0,
        idle_seconds: float | None = None,
    ) -> None:
        self.name = name
        self._open: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        super().__init__((HOST, port), partial(_Handler, application, tracer, idle_seconds))
        self._accepting = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.05}, name=f"{name}-accept", daemon=True
        )
        self._accepting.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def stop(self, patience: float = 1.0) -> None:
        """Listen no more, let the requests under way be answered, and end all threads; twice is allowed.

        Parameters:
            patience: seconds the requests under way have.
        """
        self.shutdown()
        self._accepting.join()
        self.server_close()
        deadline = time.monotonic() + patience
        for how in (socket.SHUT_RD, socket.SHUT_RDWR):
            with self._lock:
                left = dict(self._open)
            for connection in left:
                with suppress(OSError):
                    connection.shutdown(how)
            for thread in left.values():
                thread.join(max(0.1, deadline - time.monotonic()))

    # What socketserver asks

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Whether there is room for another connection."""
        with self._lock:
            return len(self._open) < MAX_CONNECTIONS

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection on a thread of its own, and remember both."""
        thread = threading.Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            name=f"{self.name}-connection",
            daemon=True,
        )
        with self._lock:
            self._open[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        """A connection has ended."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Log what went wrong with a connection; the standard library would print it into the view."""
        _log.debug("connection.failed", server=self.name, exc_info=True)


class HttpClient:
    """Calls one service and keeps connections for the next calls. For many threads at once.

    Parameters:
        port: where the service listens, on loopback.
        tracer: makes the client spans.
        patience: seconds to wait for an answer where no `telemetrix.timeout` sets a limit.
    """

    GRACE: Final = 0.5
    """Seconds past the caller's deadline after which a socket gives up, and frees the thread that was left behind."""

    def __init__(self, port: int, tracer: Tracer, patience: float = 2.0) -> None:
        self._port = port
        self._tracer = tracer
        self._patience = patience
        self._idle: queue.LifoQueue[HTTPConnection] = queue.LifoQueue()
        self._closed = False

    def post(self, path: str, payload: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Send JSON, get the status and the JSON that was answered.

        Raises:
            ServiceUnavailableError: the status was 500 or more.
            OSError, http.client.HTTPException: there was no answer, or not one of HTTP.
        """
        with self._tracer.start_as_current_span(
            f"POST {path}",
            kind=SpanKind.CLIENT,
            attributes={"http.request.method": "POST", "server.address": HOST, "server.port": self._port},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            headers = {"Content-Type": _JSON}
            propagate.inject(headers)
            try:
                status, answer = self._exchange(path, json.dumps(payload).encode(), headers)
            except Exception as error:
                _failed(span, type(error).__qualname__)
                raise
            span.set_attribute("http.response.status_code", status)
            if status >= SERVER_ERROR:
                _failed(span, str(status))
                raise ServiceUnavailableError(f"{path} was answered with {status}")
            return status, json.loads(answer)

    def close(self) -> None:
        """Close the connections that are idle, and those under way when they end."""
        self._closed = True
        with suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    def _exchange(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        connection = self._connection()
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except BaseException:
            connection.close()
            raise
        self._idle.put(connection)
        if self._closed:
            self.close()
        return answer.status, content

    def _connection(self) -> HTTPConnection:
        left = remaining()
        patience = self._patience if left is None else left + self.GRACE
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            return HTTPConnection(HOST, self._port, timeout=patience)
        connection.timeout = patience
        if connection.sock is not None:
            connection.sock.settimeout(patience)
        return connection
