"""A loopback HTTP server of one directory, whose faults a test can choose.

By hand: `python tests/lab/server.py DIRECTORY [FAULT...]`, where a FAULT is `PATH=KIND[:NUMBER]`.

Faults are set per path, and stay until they are removed, but for those with a `times`:

    with Server(directory) as server:
        server.faults["/image.qcow2"] = Fault(status=500, times=1)   # 500, then all is well
        subprocess.run(["curl", server.url("image.qcow2")])
        assert [r.status for r in server.requests] == [500, 200]
"""

from __future__ import annotations

import re
import ssl
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import quote, unquote, urlsplit

CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong with the answers for one path."""

    status: int | None = None
    """Answer with this status and a short text instead of the file."""
    times: int | None = None
    """For so many requests more; None: always."""
    cut_after: int | None = None
    """Close the connection after so many bytes of the body."""
    stall_after: int | None = None
    """Send no more after so many bytes, until the client or the server goes away."""
    content_length: bool = True
    """False: leave Content-Length out, so that a cut looks like the end."""
    ranges: bool = True
    """False: ignore Range, as some servers do, and send all from the start."""
    validators: bool = True
    """False: send neither ETag nor Last-Modified, so that a client cannot know one version from the next."""
    redirect: str | None = None
    """Answer with 302 to this URL."""
    bytes_per_second: int | None = None
    """No faster than this, roughly."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What one client asked for, and what it was told."""

    method: str
    path: str
    range: str | None
    status: int
    query: str = ""


class Server:
    """Serves `directory` on a free port of `host`, an address of this machine or of the lab, while it is entered."""

    def __init__(self, directory: Path, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.directory = directory
        self.faults: dict[str, Fault] = {}
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer((host, 0), partial(_Handler, self))
        self._http.daemon_threads = True
        self._scheme = "https" if tls else "http"
        if tls:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(target=partial(self._http.serve_forever, poll_interval=0.05), daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def url(self, path: str) -> str:
        host, port = self._http.server_address[:2]
        return f"{self._scheme}://{host!s}:{port}/{quote(path.lstrip('/'))}"

    def fault(self, path: str) -> Fault:
        """The fault that the next answer for `path` has to show."""
        with self._lock:
            fault = self.faults.get(path, Fault())
            if fault.times == 0:
                return Fault()
            if fault.times is not None:
                self.faults[path] = replace(fault, times=fault.times - 1)
            return fault

    def record(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, served: Server, *args: object) -> None:
        self.served = served
        super().__init__(*args)  # type: ignore[arg-type]

    def handle(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):  # a client may go when it likes
            super().handle()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        fault = self.served.fault(path)
        if fault.redirect is not None:
            self._answer(path, HTTPStatus.FOUND, {"Location": fault.redirect})
        elif fault.status is not None:
            self._answer(path, fault.status)
        else:
            self._send_file(path, fault)

    do_HEAD = do_GET  # noqa: N815

    def _start(self, path: str, status: int, headers: dict[str, str]) -> None:
        query = urlsplit(self.path).query
        wanted = self.headers.get("Range")
        self.served.record(Request(method=self.command, path=path, range=wanted, status=int(status), query=query))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _answer(self, path: str, status: int, headers: dict[str, str] | None = None) -> None:
        body = f"{int(status)}\n".encode()
        self._start(path, status, {"Content-Length": str(len(body)), **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_file(self, path: str, fault: Fault) -> None:
        root = self.served.directory.resolve()
        file = (root / path.lstrip("/")).resolve()
        if not file.is_relative_to(root) or not file.is_file():
            self._answer(path, HTTPStatus.NOT_FOUND)
            return
        size = file.stat().st_size
        first, last = 0, size - 1
        headers = {"Content-Type": "application/octet-stream"}
        status = HTTPStatus.OK
        known = {}
        if fault.validators:
            known = {
                "ETag": f'"{size}-{file.stat().st_mtime_ns}"',
                "Last-Modified": formatdate(file.stat().st_mtime, usegmt=True),
            }
            headers |= known
        condition = self.headers.get("If-Range")
        if fault.ranges and (condition is None or condition in known.values()):
            headers["Accept-Ranges"] = "bytes"
            wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if wanted:
                first, last = int(wanted[1]), min(last, int(wanted[2] or last))
                if first > last:
                    headers["Content-Range"] = f"bytes */{size}"
                    self._answer(path, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers)
                    return
                status = HTTPStatus.PARTIAL_CONTENT
                headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        if fault.content_length:
            headers["Content-Length"] = str(last - first + 1)
        else:
            headers["Connection"] = "close"
        self._start(path, status, headers)
        if self.command != "HEAD":
            self._send_body(file, first, last - first + 1, fault)

    def _send_body(self, file: Path, first: int, length: int, fault: Fault) -> None:
        ends = [n for n in (fault.cut_after, fault.stall_after, length) if n is not None]
        left = min(ends)
        chunk_bytes = min(CHUNK_BYTES, fault.bytes_per_second or CHUNK_BYTES)
        with file.open("rb") as stream:
            stream.seek(first)
            while left > 0 and (chunk := stream.read(min(chunk_bytes, left))):
                self.wfile.write(chunk)
                left -= len(chunk)
                if fault.bytes_per_second and self.served.closing.wait(len(chunk) / fault.bytes_per_second):
                    break
        self.wfile.flush()
        if min(ends) < length:
            self.close_connection = True
            if fault.stall_after == min(ends):
                self.served.closing.wait()

    def log_message(self, format: str, *args: object) -> None:
        """Silent: a test looks at `Server.requests`."""


KINDS: dict[str, Callable[[int], Fault]] = {
    "status": lambda n: Fault(status=n),
    "status-once": lambda n: Fault(status=n, times=1),
    "cut": lambda n: Fault(cut_after=n),
    "cut-unannounced": lambda n: Fault(cut_after=n, content_length=False),
    "stall": lambda n: Fault(stall_after=n),
    "slow": lambda n: Fault(bytes_per_second=n),
    "no-range": lambda _: Fault(ranges=False),
}


def main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help"}:
        print("usage: server.py DIRECTORY [PATH=KIND[:NUMBER]...]\nkinds:", *KINDS)
        return 0 if arguments else 2
    with Server(Path(arguments[0])) as server:
        for argument in arguments[1:]:
            path, _, fault = argument.rpartition("=")
            kind, _, number = fault.partition(":")
            server.faults["/" + path.lstrip("/")] = KINDS[kind](int(number or 0))
        print(server.url(""), flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
