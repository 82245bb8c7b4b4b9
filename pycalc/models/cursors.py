"""Cursors of pages whose items have descending ids."""

from __future__ import annotations

import base64
import binascii

from pycalc.errors import FieldProblem, InvalidInput
from pycalc.models.ids import id_of_text

_CURSOR_VERSION = b"\x01"
_ID_LENGTH = 36


def cursor_of(identity: bytes) -> str:
    """Return the cursor of the page that follows the item with this id."""
    return base64.urlsafe_b64encode(_CURSOR_VERSION + identity).rstrip(b"=").decode()


def cursor_id(text: str | None) -> bytes | None:
    """Return the id in a text, which is a cursor or an item's id as clients see it. Return None for None.

    Raises InvalidInput for any other text.
    """
    if text is None:
        return None
    try:
        if len(text) == _ID_LENGTH:
            return id_of_text(text)
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 17 or raw[:1] != _CURSOR_VERSION:
        raise InvalidInput.of(FieldProblem("/cursor", "cursor must be a page's next_cursor or an item's id."))
    return raw[1:]
