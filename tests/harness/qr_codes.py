"""A reader of QR codes on web pages, which decodes screenshots with the npm package jsQR."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from playwright.sync_api import Locator

from tests.harness.npm import npm_packages

_FOLDER = Path(__file__).parent / "qr_reader"
_READ = """async (picture) => {
  const image = new Image();
  image.src = picture;
  await image.decode();
  const { width, height } = image;
  const drawing = new OffscreenCanvas(width, height).getContext("2d");
  drawing.drawImage(image, 0, 0);
  return jsQR(drawing.getImageData(0, 0, width, height).data, width, height)?.data ?? null;
}"""


def read_qr(place: Locator) -> str | None:
    """Return the text of the QR code in the element ``place``, or None if there is none; raises Missing without npm."""
    picture = f"data:image/png;base64,{b64encode(place.screenshot()).decode()}"
    place.page.evaluate((npm_packages(_FOLDER) / "node_modules" / "jsqr" / "dist" / "jsQR.js").read_text())
    text: str | None = place.page.evaluate(_READ, picture)
    return text
