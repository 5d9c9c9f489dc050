"""A WebSocket client's frames and a pipe that ends in the test."""

import asyncio
import struct

_MASK = b"\x37\xfa\x21\x3d"


def masked(kind: int, data: bytes = b"", *, last: bool = True) -> bytes:
    first, size = (0x80 if last else 0) | kind, len(data)
    if size < 126:
        head = struct.pack(">BB", first, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack(">BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", first, 0x80 | 127, size)
    return head + _MASK + bytes(byte ^ _MASK[at % 4] for at, byte in enumerate(data))


class MemoryPipe:
    """gateway/streaming/pipe.py, `Pipe`: `say` what the client sends, look at `sent`."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.left = False
        self.wrote = asyncio.Event()
        self._said: asyncio.Queue[bytes] = asyncio.Queue()

    def say(self, data: bytes) -> None:
        self._said.put_nowait(data)

    async def read(self) -> bytes:
        return await self._said.get()

    async def write(self, data: bytes) -> None:
        if self.left:
            raise BrokenPipeError("the client left")
        self.sent += data
        self.wrote.set()

    async def close(self) -> None:
        self.left = True

    def hung_up(self) -> bool:
        return self.left
