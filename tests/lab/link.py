"""A TCP link with latency that can break: what it takes on one address it hands on to another, a while later.

(The kernels of small machines have no `netem`.) As in

    with Link(("10.99.0.2", 22), delay=0.05) as link:
        ssh("-p", link.port, "127.0.0.1")
        link.cut_after = 100_000      # bytes, of all that the client sends from now on
        link.cut()                    # every connection, now
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any

CHUNK_BYTES = 1 << 16
CHUNKS_UNDER_WAY = 64

Address = tuple[str, int] | str
"""Host and port, or the path of a Unix socket."""


class Link:
    """Listens on a free port of 127.0.0.1 and of ::1 while it is entered."""

    def __init__(self, target: Address, *, delay: float = 0.0) -> None:
        self.target = target
        self.delay = delay
        """Seconds, each way."""
        self.cut_after: int | None = None
        """Cut all connections once clients have sent so many more bytes."""
        self.cuts = 0
        """How often `cut_after` has cut."""
        self.port = 0
        self.connections = 0
        """How many there were."""
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Link:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cut()
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def cut(self) -> None:
        """Break every connection that there is."""
        self._call(self._cut())

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _listen(self) -> None:
        first = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = first.sockets[0].getsockname()[1]
        self._servers = [first, await asyncio.start_server(self._connect, "::1", self.port)]

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            if isinstance(self.target, str):
                far_reader, far_writer = await asyncio.open_unix_connection(self.target)
            else:
                far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, far_writer}
        with suppress(asyncio.CancelledError):
            await asyncio.gather(self._carry(reader, far_writer, count=True), self._carry(far_reader, writer))
        self._writers -= {writer, far_writer}

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, count: bool = False) -> None:
        """Hand on what comes, in order, each piece `delay` seconds after it came; then its end."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_UNDER_WAY)

        async def deliver() -> None:
            while True:
                due, data = await queue.get()
                if (left := due - time.monotonic()) > 0:
                    await asyncio.sleep(left)
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            writer.close()

        delivery = asyncio.ensure_future(deliver())
        data = b" "
        while data and not delivery.done():
            try:
                data = await reader.read(CHUNK_BYTES)
            except OSError:
                data = b""
            if count and self.cut_after is not None:
                self.cut_after -= len(data)
                if self.cut_after < 0:
                    self.cut_after = None
                    self.cuts += 1
                    await self._cut()
            await queue.put((time.monotonic() + self.delay, data))
        with suppress(OSError):
            await delivery
