"""A result as bytes that leave the process: checked by a digest over its name, its text compressed (ADR 20)."""

from __future__ import annotations

import json
import sys
from hashlib import sha256

from pycalc.models.results import Facts, Result

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FORMAT = 1
"""Goes up with each change of what is written here."""
COMPRESSED_BYTES = 4 * 1024
"""A text that is longer is compressed: digits take a little more than 10/3 bits each, whatever the effort."""
DIGITS_RATIO = 0.43
"""Digits in no order are compressed to 0.425 of their length, where no code could do better than log2(10)/8 = 0.415.

Those of a power of ten take less: they are not counted on.
"""
_LEVEL = 1
_DIGEST_BYTES = 16
_WINDOW_LOG = 23
"""A frame that wants more memory than 8 MiB to be read is none of ours."""


class TooLong(ValueError):
    """A text is longer than is wanted here, for another process has other bounds; nothing is wrong with it."""


def encode(name: bytes, result: Result) -> bytes:
    """Return a result as it is stored under a name."""
    text = bytes(result.text)
    facts = result.facts
    head = json.dumps(
        {
            "length": len(text),
            "stored": facts.stored is not None,
            "digits": facts.digits,
            "exact": facts.exact,
            "leading": facts.leading,
            "trailing": facts.trailing,
            "sha256": None if facts.sha256 is None else facts.sha256.hex(),
            "head": result.head.decode(),
            "tail": result.tail.decode(),
        },
        separators=(",", ":"),
    ).encode()
    body = head + b"\n" + (zstd.compress(text, _LEVEL) if len(text) > COMPRESSED_BYTES else text)
    return _digest(name, body) + body


def decode(name: bytes, stored: bytes, longest: int) -> Result:
    """Return what was encoded under a name; its text has ``longest`` bytes at most.

    Raises TooLong for a text that has more, and another ValueError for anything else: damaged, another name's, another
    version's.
    """
    body = stored[_DIGEST_BYTES:]
    if stored[:_DIGEST_BYTES] != _digest(name, body):
        raise ValueError("the digest is another one")
    head, _, text = body.partition(b"\n")
    try:
        told = json.loads(head)
        length: int = told["length"]
        if length > longest:
            raise TooLong("the text is too long")
        if length > COMPRESSED_BYTES:
            text = _expanded(text, length)
        if len(text) != length:
            raise ValueError("the text has another length")
        digest = told["sha256"]
        facts = Facts(
            text.decode() if told["stored"] else None,
            told["digits"],
            told["exact"],
            told["leading"],
            told["trailing"],
            None if digest is None else bytes.fromhex(digest),
        )
        return Result(text, facts, told["head"].encode(), told["tail"].encode())
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("not a result") from error


def _digest(name: bytes, body: bytes) -> bytes:
    hashed = sha256(b"%d:%b\n" % (len(name), name))
    hashed.update(body)
    return hashed.digest()[:_DIGEST_BYTES]


def _expanded(compressed: bytes, length: int) -> bytes:
    """Return a compressed text; never more than a byte beyond its length is made of it."""
    expander = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG})
    try:
        return expander.decompress(compressed, length + 1)
    except zstd.ZstdError as error:
        raise ValueError("the text is damaged") from error
