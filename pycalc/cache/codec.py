"""Encoding of results for a shared cache: compressed text, and a digest over the name and the content (ADR 20)."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from hashlib import sha256
from typing import TypeVar

from pycalc.models.results import Facts, Result

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

T = TypeVar("T")

FORMAT = 1  # raise this number with each change of the encoding
INLINE_BYTES = 64 * 1024  # longer values are encoded and decoded in a thread, because that takes more than 0.1 ms
COMPRESSED_BYTES = 4 * 1024  # longer texts are compressed
# Bytes of a compressed text per decimal digit, at most; log2(10)/8 = 0.415 is the least that any code could reach.
DIGITS_RATIO = 0.43
_DIGEST_BYTES = 16
_WINDOW_LOG = 23  # limits the decompressor's memory: our frames need no more than 8 MiB


async def off_loop(size: int, work: Callable[..., T], *arguments: object) -> T:
    """Return ``work(*arguments)``. Run it in a thread if its input, of ``size`` bytes, is longer than INLINE_BYTES."""
    return await asyncio.to_thread(work, *arguments) if size > INLINE_BYTES else work(*arguments)


class TooLong(ValueError):
    """A valid text is longer than this process accepts. Another process, whose limit is higher, has stored the text."""


def encode(name: bytes, result: Result) -> bytes:
    """Return the encoded result, which begins with a digest over the result and the key ``name`` in the store."""
    text, facts = bytes(result.text), result.facts
    fields = {
        "length": len(text),
        **facts._asdict(),
        "stored": facts.stored is not None,
        "sha256": None if facts.sha256 is None else facts.sha256.hex(),
        "head": result.head.decode(),
        "tail": result.tail.decode(),
    }
    head = json.dumps(fields, separators=(",", ":")).encode()
    body = head + b"\n" + (zstd.compress(text, 1) if len(text) > COMPRESSED_BYTES else text)
    return _digest(name, body) + body


def decode(name: bytes, stored: bytes, longest: int) -> Result:
    """Return the result that ``encode`` encoded as ``stored``.

    Raises TooLong for a text of more than ``longest`` bytes. Raises ValueError for damaged bytes, and for bytes that
    were encoded for another ``name``.
    """
    body = stored[_DIGEST_BYTES:]
    if stored[:_DIGEST_BYTES] != _digest(name, body):
        raise ValueError("the digest does not match")
    head, _, text = body.partition(b"\n")
    try:
        fields = json.loads(head)
        length: int = fields["length"]
        if length > longest:
            raise TooLong("the text is too long")
        if length > COMPRESSED_BYTES:
            expander = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG})
            text = expander.decompress(text, length + 1)  # one byte more, so that a longer text is noticed
        if len(text) != length:
            raise ValueError("the text does not have the recorded length")
        known = text.decode() if fields["stored"] else None
        digest = None if fields["sha256"] is None else bytes.fromhex(fields["sha256"])
        facts = Facts(known, fields["digits"], fields["exact"], fields["leading"], fields["trailing"], digest)
        return Result(text, facts, fields["head"].encode(), fields["tail"].encode())
    except zstd.ZstdError as error:
        raise ValueError("the text is damaged") from error
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("not a result") from error


def _digest(name: bytes, body: bytes) -> bytes:
    hashed = sha256(b"%d:%b\n" % (len(name), name))
    hashed.update(body)  # apart from the name, because a body may be long to copy
    return hashed.digest()[:_DIGEST_BYTES]
