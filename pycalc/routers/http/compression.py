"""Content codings: zstd and gzip, for digits, for streams of text, and for documents that do not change."""

from __future__ import annotations

import asyncio
import sys
import zlib
from typing import Protocol

from pycalc.routers.http.negotiation import preferred_coding

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CODINGS = ("zstd", "gzip")
"""The codings that there are, the better one first."""
SHORTEST_COMPRESSED = 1_024
"""Responses up to this size are sent uncompressed."""
INLINE_BYTES = 16 * 1024
"""Up to this size compressing takes the event loop some microseconds; what is longer is compressed in a thread."""
_GZIP = zlib.MAX_WBITS | 16


class Compressor(Protocol):
    """The common interface of zlib's and zstd's compressors."""

    def compress(self, data: bytes, /) -> bytes:
        """Return what can be sent already."""
        ...

    def flush(self) -> bytes:
        """Return the rest, and end the stream."""
        ...


def digits_compressor(coding: str) -> Compressor:
    """Return a compressor for digits: they are random, so that searching for repetitions only costs time and space."""
    if coding == "gzip":
        return zlib.compressobj(wbits=_GZIP, strategy=zlib.Z_HUFFMAN_ONLY)
    return zstd.ZstdCompressor(level=1)


class TextStream:
    """A compressor that flushes after each page, so that every page received can be decoded."""

    def __init__(self, coding: str) -> None:
        self._gzip = zlib.compressobj(level=1, wbits=_GZIP) if coding == "gzip" else None
        self._zstd = zstd.ZstdCompressor(level=1)

    async def page(self, content: bytes) -> bytes:
        """Return the compressed bytes of a page."""
        if len(content) > INLINE_BYTES:
            return await asyncio.to_thread(self._page, content)
        return self._page(content)

    def end(self) -> bytes:
        """Return the last bytes."""
        return self._zstd.flush() if self._gzip is None else self._gzip.flush()

    def _page(self, content: bytes) -> bytes:
        if self._gzip is None:
            return self._zstd.compress(content, zstd.ZstdCompressor.FLUSH_BLOCK)
        return self._gzip.compress(content) + self._gzip.flush(zlib.Z_SYNC_FLUSH)


def compress_well(content: bytes, coding: str) -> bytes:
    """Return a document that will be sent often, in a coding; a megabyte takes some tens of milliseconds."""
    if coding == "gzip":
        return zlib.compress(content, 9, _GZIP)
    return zstd.compress(content, 10)


async def compressed(content: bytes, accept_encoding: str) -> tuple[bytes, dict[str, str]]:
    """Return a document that is sent once, in the coding that an Accept-Encoding prefers, and its header fields."""
    coding = preferred_coding(accept_encoding, CODINGS) if len(content) > SHORTEST_COMPRESSED else None
    if coding is None:
        return content, {"Vary": "Accept-Encoding"}
    stream = TextStream(coding)
    body = await stream.page(content) + stream.end()
    return body, {"Vary": "Accept-Encoding", "Content-Encoding": coding}
