"""A proxy in front of an S3 server that makes each request wait, and notes it: how far a store is, and who asks it.

Plain HTTP/1.1 is carried as it is: connections are kept, bodies stream both ways, and the host that a client has signed
stays. A process of its own: whoever measures with it shares no thread with it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TextIO
from urllib.parse import unquote, urlsplit

from infra.local.s3.servers import HOST, Server

_PIECE = 1 << 16
_LONGEST_HEAD = 1 << 18
_ENDS_OF_A_CONNECTION = (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


@dataclass(frozen=True, slots=True)
class Request:
    """One that was answered. A connection that broke has left none."""

    at: float  # seconds since the epoch, when it came
    method: str
    path: str  # with the bucket, without what is asked for; no key of a list
    query: str
    status: int
    sent_bytes: int
    received_bytes: int


class DelayingProxy(Server):
    """Stands in front of ``upstream``, an endpoint; clients go to its own ``endpoint``."""

    tool = "delaying-proxy"
    entry_point = "infra.local.s3.delaying_proxy:main"

    def __init__(self, folder: Path, upstream: str, delay_seconds: float, *, port: int | None = None) -> None:
        super().__init__(folder, port=port)
        self._upstream = upstream
        self._delay_seconds = delay_seconds
        self._note = self.folder / "requests.jsonl"

    def start(self) -> Self:
        """Start it and wait until it listens; what it carried before is forgotten."""
        self._note.unlink(missing_ok=True)
        return super().start()

    def python(self) -> Path:
        """Ours: it needs no package of its own."""
        return Path(sys.executable)

    def arguments(self) -> list[str]:
        """Where to listen, what to stand before, how long to wait."""
        return [str(self._port), self._upstream, str(self._delay_seconds), str(self._note)]

    def variables(self) -> dict[str, str]:
        """None."""
        return {}

    def is_ready(self) -> bool:
        """Its note is there once it listens; a request would reach the server behind it."""
        return self._note.exists()

    def requests(self) -> list[Request]:
        """What it has carried so far."""
        lines = self._note.read_text(encoding="utf-8").splitlines()
        return [Request(**json.loads(line)) for line in lines]


@dataclass(frozen=True, slots=True)
class _Head:
    """The first line of a message and its headers."""

    raw: bytes
    first: tuple[str, str, str]
    headers: dict[str, str]

    @property
    def is_chunked(self) -> bool:
        return "chunked" in self.headers.get("transfer-encoding", "").lower()

    @property
    def length(self) -> int | None:
        value = self.headers.get("content-length")
        return None if value is None else int(value)

    @property
    def is_last(self) -> bool:
        return "close" in self.headers.get("connection", "").lower() or self.first[0] == "HTTP/1.0"


class _Proxy:
    def __init__(self, upstream: str, delay_seconds: float, note: TextIO) -> None:
        place = urlsplit(upstream)
        self._host, self._port = place.hostname or HOST, place.port or 80
        self._delay_seconds = delay_seconds
        self._note = note

    async def serve(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        """One connection of a client, and one to the server for it, until either has enough."""
        server, requests = None, None
        try:
            while (head := await _read_head(client)) is not None:
                at = time.time()
                await asyncio.sleep(self._delay_seconds)
                if server is None or requests is None or server.at_eof():  # a server ends idle connections
                    if requests:
                        requests.close()
                    server, requests = await asyncio.open_connection(self._host, self._port, limit=_LONGEST_HEAD)
                if not await self._carry(at, head, client, answers, server, requests):
                    return
        except _ENDS_OF_A_CONNECTION:
            pass  # the other side is told by the end of its own connection
        finally:
            for writer in (answers, requests):
                if writer:
                    writer.close()
                    with suppress(ConnectionError):
                        await writer.wait_closed()

    async def _carry(
        self,
        at: float,
        head: _Head,
        client: asyncio.StreamReader,
        answers: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        requests: asyncio.StreamWriter,
    ) -> bool:
        """One request and its answer; whether another may follow on these connections."""
        requests.write(head.raw)
        # An answer may come before the body has gone out: to a client that asks first, or one that is refused.
        body = asyncio.create_task(_carry_body(client, requests, head, length=head.length or 0))
        try:
            while (answer := await _read_head(server)) is not None:
                answers.write(answer.raw)
                await answers.drain()
                if not answer.first[1].startswith("1"):
                    break
            else:
                return False
            method, status = head.first[0], int(answer.first[1])
            is_bare = method == "HEAD" or status in (204, 304)
            received = 0 if is_bare else await _carry_body(server, answers, answer, length=answer.length)
            is_last = head.is_last or answer.is_last or not body.done()
            is_last = is_last or not (is_bare or answer.is_chunked or answer.length is not None)
            sent = await body if body.done() else 0
        finally:
            body.cancel()
        path, _, query = head.first[1].partition("?")
        noted = {"at": at, "method": method, "path": unquote(path), "query": query, "status": status}
        self._note.write(json.dumps(noted | {"sent_bytes": sent, "received_bytes": received}) + "\n")
        return not is_last


async def _read_head(reader: asyncio.StreamReader) -> _Head | None:
    """The next message's head; None where the connection has ended between two."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    first, *lines = raw.decode("latin-1").split("\r\n")[:-2]
    words = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines)
    return _Head(raw, (words[0], words[1], words[-1]), {name.lower(): value.strip() for name, _, value in pairs})


async def _carry_body(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: _Head, length: int | None
) -> int:
    """Pass a message's body on as it comes; its bytes. ``length`` None: it ends with the connection."""
    if head.is_chunked:
        return await _carry_chunks(reader, writer)
    carried = 0
    while length is None or carried < length:
        piece = await reader.read(_PIECE if length is None else min(_PIECE, length - carried))
        if not piece:
            if length is not None:
                raise asyncio.IncompleteReadError(b"", length - carried)
            break
        writer.write(piece)
        await writer.drain()
        carried += len(piece)
    return carried


async def _carry_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """The same in chunks, each with its length before it, and trailers after the one of length 0."""
    carried = 0
    while True:
        line = await reader.readuntil(b"\r\n")
        writer.write(line)
        left = size = int(line.split(b";")[0], 16)
        while left:
            piece = await reader.read(min(_PIECE, left))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            writer.write(piece)
            await writer.drain()
            left -= len(piece)
        carried += size
        end = await reader.readuntil(b"\r\n")
        writer.write(end)
        if size == 0:
            while end != b"\r\n":  # a trailer; the empty line is the last
                end = await reader.readuntil(b"\r\n")
                writer.write(end)
            await writer.drain()
            return carried


async def _serve(port: int, upstream: str, delay_seconds: float, note: Path) -> None:
    staged = note.with_suffix(".new")
    with staged.open("w", encoding="utf-8", buffering=1) as stream:
        proxy = _Proxy(upstream, delay_seconds, stream)
        async with await asyncio.start_server(proxy.serve, HOST, port, limit=_LONGEST_HEAD) as server:
            staged.rename(note)  # it listens
            await server.serve_forever()


def main() -> None:
    """Serve until ended: ``PORT UPSTREAM DELAY_SECONDS NOTE``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("upstream")
    parser.add_argument("delay_seconds", type=float)
    parser.add_argument("note", type=Path)
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.port, arguments.upstream, arguments.delay_seconds, arguments.note))


if __name__ == "__main__":
    main()
