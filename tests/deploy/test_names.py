"""Names in the deployment files: each exists in the code."""

from __future__ import annotations

import re

import pytest

from pycalc.settings import Settings
from tests.deploy.images import ROOT

_FILES = ("Dockerfile", "compose.yaml", "deploy/gcp/run.tf", "deploy/image/health.py")
_CLOUD = ("deploy/gcp/run.tf", "deploy/gcp/monitoring.tf", "deploy/gcp/release.sh")
_SETTING = re.compile(r"\bPYCALC_[A-Z_]+\b")


@pytest.mark.parametrize("file", _FILES)
def test_settings_exist(file: str) -> None:
    """Every PYCALC_ variable in a deployment file is a setting of the service."""
    known = {f"PYCALC_{name.upper()}" for name in Settings.model_fields}
    named = set(_SETTING.findall((ROOT / file).read_text()))
    assert named
    assert named - known == set()


@pytest.mark.parametrize("file", _CLOUD)
def test_no_cloud_run_path_ends_in_z(file: str) -> None:
    """No path in the files for Cloud Run ends in z, because Google's front end answers some such paths with 404."""
    paths = re.findall(r"""(?<=[ "'])/[a-z]+(?=[ "'?])""", (ROOT / file).read_text())
    assert paths
    assert [path for path in paths if path.endswith("z")] == []
