"""The pages for people in a real browser: the console, Swagger UI and ReDoc, with every other host unreachable."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="the playwright package is not installed")

from playwright.sync_api import (  # noqa: E402
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Route,
    expect,
    sync_playwright,
)

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
DEADLINE_MS = 15_000
PASSWORD = "correct horse battery staple"

# OEIS A000045 and A000142.
F_100 = "354224848179261915075"
F_1000 = (
    "43466557686937456435688527675040625802564660517371780402481729089536555417949051890403879840079255169295922593"
    "080322634775209689623239873322471161642996440906533187938298969649928516003704476137795166849228875"
)
FACTORIAL_30 = "265252859812191058636308480000000"

SERVICE_UNDER_TEST = "server"
