"""A server of one file on 127.0.0.1 that misbehaves as told, one answer after another."""

from __future__ import annotations

import socket
import struct
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How one request is answered. By default: correctly."""

    status: int | None = None
    """Of an error; None: 200 or 206."""

    headers: dict[str, str] = field(default_factory=dict)
    """Besides the usual ones; an empty value leaves a usual one out."""

    drop_after: int | None = None
    """Bytes of the body after which the connection is closed."""

    reset: bool = False
    """It is not closed but reset, as by a broken line."""

    ignores_range: bool = False
    """The whole file is sent, whatever part was asked for."""

    ignores_condition: bool = False
    """The part is sent even if the file is another version than If-Range names."""

    shift: int = 0
    """Bytes by which the part that is sent begins later than the one that was asked for."""

    declared: int | None = None
    """Content-Length of a server that lies; the connection is closed after the true bytes."""

    framing: str = "length"
    """How the end of the body is known: "length", "chunked", or "close"."""

    hold: threading.Event | None = None
    """Sends half of the body, and the rest when this is set."""


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing about a client that went away: that is what is tested."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class FileServer:
    """Serves `content` under every path; `answers` are used up before the default one."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.etag = '"one"'
        self.answers: deque[Answer] = deque()
        self.requests: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.http = _QuietServer(("127.0.0.1", 0), self._handler())

    @property
    def port(self) -> int:
        return self.http.server_address[1]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.requests.append(dict(self.headers))
                server.paths.append(self.path)
                answer = server.answers.popleft() if server.answers else Answer()
                self.close_connection = True
                if answer.status is not None:
                    self.send_response(answer.status)
                    for name, value in ({"Content-Length": "0"} | answer.headers).items():
                        self.send_header(name, value)
                    self.end_headers()
                    return
                self._file(answer)

            def _file(self, answer: Answer) -> None:
                wanted, first = self.headers.get("Range"), 0
                condition = self.headers.get("If-Range")
                same = answer.ignores_condition or condition in (None, server.etag)
                if wanted is not None and same and not answer.ignores_range:
                    first = int(wanted.removeprefix("bytes=").removesuffix("-")) + answer.shift
                    if first >= len(server.content):
                        self.send_response(416)
                        self.send_header("Content-Length", "0")
                        self.end_headers()
                        return
                body = server.content[first:]
                usual = {"ETag": server.etag, "Content-Type": "application/octet-stream"}
                if answer.framing == "length":
                    usual["Content-Length"] = str(answer.declared or len(body))
                elif answer.framing == "chunked":
                    usual["Transfer-Encoding"] = "chunked"
                if first:
                    whole = len(server.content)
                    usual["Content-Range"] = f"bytes {first}-{whole - 1}/{whole}"
                self.send_response(206 if first else 200)
                for name, value in (usual | answer.headers).items():
                    if value:
                        self.send_header(name, value)
                self.end_headers()
                self._body(answer, body)

            def _body(self, answer: Answer, body: bytes) -> None:
                sent = body if answer.drop_after is None else body[: answer.drop_after]
                if answer.framing == "chunked":
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(sent), sent))
                    if answer.drop_after is None:
                        self.wfile.write(b"0\r\n\r\n")
                elif answer.hold is not None:
                    self.wfile.write(sent[: len(sent) // 2])
                    assert answer.hold.wait(30)
                    self.wfile.write(sent[len(sent) // 2 :])
                else:
                    self.wfile.write(sent)
                if answer.reset:
                    self.wfile.flush()
                    linger_0_s = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_0_s)
                    self.connection.close()

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


@contextmanager
def serving(content: bytes) -> Iterator[FileServer]:
    """A `FileServer` that runs while inside."""
    server = FileServer(content)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def closed_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
