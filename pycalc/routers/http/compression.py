"""Compression with zstd and gzip: of digits, of streams of text, and of documents."""

from __future__ import annotations

import asyncio
import sys
import zlib
from typing import Any, Protocol

from pycalc.routers.http.negotiation import preferred_coding

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CODINGS = ("zstd", "gzip")  # in the order of preference
SHORTEST_COMPRESSED = 1_024  # bytes; results and documents up to this size are sent uncompressed
INLINE_BYTES = 16 * 1024  # longer content is compressed in a thread, so that it does not block the event loop
_GZIP = zlib.MAX_WBITS | 16


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self, mode: Any = ..., /) -> bytes: ...


def digits_compressor(coding: str) -> _Compressor:
    """Return a fast compressor for digits. Digits look random, so a search for repetitions would gain little."""
    if coding == "gzip":
        return zlib.compressobj(wbits=_GZIP, strategy=zlib.Z_HUFFMAN_ONLY)
    return zstd.ZstdCompressor(level=1)


class TextStream:
    """A compressor for a text that is sent page by page. The client can decode each page when it arrives."""

    def __init__(self, coding: str) -> None:
        gzip = coding == "gzip"
        self._compressor: _Compressor = zlib.compressobj(level=1, wbits=_GZIP) if gzip else zstd.ZstdCompressor(level=1)
        self._flush_mode = zlib.Z_SYNC_FLUSH if gzip else zstd.ZstdCompressor.FLUSH_BLOCK

    async def page(self, content: bytes) -> bytes:
        """Return the compressed bytes of a page."""

        def compress() -> bytes:
            return self._compressor.compress(content) + self._compressor.flush(self._flush_mode)

        return await asyncio.to_thread(compress) if len(content) > INLINE_BYTES else compress()

    def end(self) -> bytes:
        """End the stream and return its last bytes."""
        return self._compressor.flush()


def compress_well(content: bytes, coding: str) -> bytes:
    """Return a compressed document, at a high level that takes tens of milliseconds for a megabyte."""
    if coding == "gzip":
        return zlib.compress(content, 9, _GZIP)
    return zstd.compress(content, 10)


async def compressed(content: bytes, accept_encoding: str) -> tuple[bytes, dict[str, str]]:
    """Return a document, compressed if it is long and Accept-Encoding prefers this, and its header fields."""
    coding = preferred_coding(accept_encoding, CODINGS) if len(content) > SHORTEST_COMPRESSED else None
    if coding is None:
        return content, {"Vary": "Accept-Encoding"}
    stream = TextStream(coding)
    body = await stream.page(content) + stream.end()
    return body, {"Vary": "Accept-Encoding", "Content-Encoding": coding}
