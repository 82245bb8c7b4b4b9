"""The names in the deployment's files are the code's own."""

from __future__ import annotations

import re

import pytest

from pycalc.settings import Settings
from tests.deploy.images import ROOT

_FILES = ("Dockerfile", "compose.yaml", "deploy/gcp/run.tf", "deploy/image/health.py")
_SETTING = re.compile(r"\bPYCALC_[A-Z_]+\b")


@pytest.mark.parametrize("file", _FILES)
def test_settings_exist(file: str) -> None:
    """A deployment sets nothing that the service does not know."""
    known = {f"PYCALC_{name.upper()}" for name in Settings.model_fields}
    named = set(_SETTING.findall((ROOT / file).read_text()))
    assert named
    assert named - known == set()
