"""A proxy of libvirt's socket, by which a test slows an upload down, holds it, or cuts it off.

with Proxy(tmp_path / "libvirt", hold_after=1_000_000) as proxy:
    uri = proxy.uri                     # a connection URI like any other
    ...                                 # whoever uploads more than that is held, and proxy.held is set
    proxy.release()                     # and goes on now; or proxy.cut(): the connections are closed
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

LIBVIRT = "/run/libvirt/libvirt-sock"
CHUNK_BYTES = 1 << 16


class Proxy:
    """Hands on what clients and libvirt say to each other, while it is entered."""

    def __init__(self, path: Path, *, hold_after: int | None = None, bytes_per_second: int | None = None) -> None:
        self.path = path
        self.hold_after = hold_after
        """How many bytes a client may send on one connection, until `release`."""
        self.bytes_per_second = bytes_per_second
        """How fast a client may send."""
        self.held = threading.Event()
        self._released = threading.Event()
        self._closing = threading.Event()
        self._sockets: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)

    @property
    def uri(self) -> str:
        return f"qemu+unix:///system?socket={self.path}"

    def __enter__(self) -> Proxy:
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._listener.close()
        self.cut()
        self.path.unlink()

    def release(self) -> None:
        """Hold nobody any more."""
        self.hold_after = None
        self._released.set()

    def cut(self) -> None:
        """Close the connections that there are, and hold nobody any more."""
        for end in list(self._sockets):  # not those of a client that has connected again meanwhile
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self.release()

    def _serve(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                client = self._listener.accept()[0]
                server = socket.socket(socket.AF_UNIX)
                server.connect(LIBVIRT)
                self._sockets += [client, server]
                threading.Thread(target=self._pass_on, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(server, client, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, limited: bool) -> None:
        sent = 0
        with suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                if limited and self.hold_after is not None and sent + len(data) > self.hold_after:
                    target.sendall(data[: max(0, self.hold_after - sent)])
                    rest = data[max(0, self.hold_after - sent) :]
                    self.held.set()
                    self._released.wait()
                    data = rest
                target.sendall(data)
                sent += len(data)
                if limited and self.bytes_per_second and len(data) == CHUNK_BYTES:
                    self._closing.wait(len(data) / self.bytes_per_second)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
