"""Tests of the script deploy/gcp/release.sh, with a real service and a fake gcloud that records its arguments."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import pytest

from tests.deploy.images import ROOT
from tests.harness.accounts import new_person
from tests.harness.servers import Server, free_port

_GCLOUD = """#!/bin/sh
echo "gcloud $*" >>"$RECORD"
case "$*" in
*percent*) echo 100,pycalc-00001-old ;;
*tag,status*) echo "canary,$CANARY" ;;
*"secrets versions access"*) [ -n "$KEY" ] && echo "$KEY" ;;
*"$BROKEN"*) [ -z "$BROKEN" ] ;;
esac
"""
_IMAGE = "europe-west1-docker.pkg.dev/project/pycalc/pycalc:7"


class Release:
    """A finished run of release.sh: its exit status, its output and its gcloud commands."""

    def __init__(self, folder: Path, canary: str, *, key: str = "", broken: str = "") -> None:
        gcloud, record = folder / "gcloud", folder / "record"
        gcloud.write_text(_GCLOUD)
        gcloud.chmod(0o755)
        variables = {"CANARY": canary, "KEY": key, "BROKEN": broken, "RECORD": str(record), "PROBES": "1"}
        cloud = {"PROJECT": "project", "REGION": "europe-west1", "NAME": "pycalc"}
        environment = {**os.environ, **variables, **cloud, "PATH": f"{folder}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["sh", str(ROOT / "deploy/gcp/release.sh"), _IMAGE],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        self.status, self.said = done.returncode, done.stdout + done.stderr
        self.commands = record.read_text().splitlines()

    def changes(self) -> list[str]:
        """Return the gcloud commands that change something, without the flags that all commands have."""
        common = " --project=project --region=europe-west1 --quiet"
        reads = ("describe", "secrets")
        return [line.replace(common, "") for line in self.commands if not any(word in line for word in reads)]


_MIGRATED = [
    f"gcloud run jobs update pycalc-migrate --image={_IMAGE}",
    "gcloud run jobs execute pycalc-migrate --wait",
]
_STARTED = [*_MIGRATED, f"gcloud run services update pycalc --image={_IMAGE} --no-traffic --tag=canary"]
_TENTH = [*_STARTED, "gcloud run services update-traffic pycalc --to-tags=canary=10"]
_ROLLBACK = "gcloud run services update-traffic pycalc --to-revisions=pycalc-00001-old=100 --remove-tags=canary"


def test_releases(server: Server, tmp_path: Path) -> None:
    """A canary that passes its checks gets a tenth of the traffic, then all of it; then the consumer is updated."""
    with httpx.Client(base_url=server.url) as client:
        key = new_person(client).token
    release = Release(tmp_path, server.url, key=key)
    assert release.status == 0, release.said
    assert release.changes() == [
        *_TENTH,
        "gcloud run services update-traffic pycalc --to-latest --remove-tags=canary",
        f"gcloud beta run worker-pools update pycalc-consumer --image={_IMAGE}",
    ]


def test_releases_without_a_key(server: Server, tmp_path: Path) -> None:
    """Without an API key, a release succeeds and says that calculations are not tested."""
    release = Release(tmp_path, server.url)
    assert release.status == 0, release.said
    assert "calculations are not tested" in release.said


def test_rolls_back_a_dead_canary(tmp_path: Path) -> None:
    """A canary that does not answer gets no traffic, and its traffic tag is removed."""
    release = Release(tmp_path, f"http://127.0.0.1:{free_port()}")
    assert release.status == 1
    assert release.changes() == [*_STARTED, _ROLLBACK]


def test_rolls_back_a_canary_that_can_not_calculate(server: Server, tmp_path: Path) -> None:
    """A canary that is ready but refuses a calculation gets no traffic, and its traffic tag is removed."""
    release = Release(tmp_path, server.url, key="pycalc_not-a-key")
    assert release.status == 1
    assert "/fibonacci/100 answered: " in release.said
    assert release.changes() == [*_STARTED, _ROLLBACK]


@pytest.mark.parametrize(
    ("broken", "changes"),
    [
        ("jobs execute", _MIGRATED),
        ("services update pycalc", [*_STARTED, _ROLLBACK]),
        ("--to-tags", [*_TENTH, _ROLLBACK]),
    ],
)
def test_stops_at_a_command_that_fails(server: Server, tmp_path: Path, broken: str, changes: list[str]) -> None:
    """If the migration fails, no service is changed; if a later command fails, the old revision gets all traffic."""
    release = Release(tmp_path, server.url, broken=broken)
    assert release.status != 0
    assert release.changes() == changes


@pytest.mark.programs
def test_gcloud_knows_the_commands(server: Server, tmp_path: Path) -> None:
    """Gcloud itself accepts every command that release.sh runs, with its flags."""
    assert _refused([*Release(tmp_path, server.url).commands, _ROLLBACK], tmp_path) == {}


@pytest.mark.programs
def test_gcloud_knows_the_documented_commands(tmp_path: Path) -> None:
    """Gcloud itself accepts every command in docs/deploy-gcp.md."""
    text = (ROOT / "docs/deploy-gcp.md").read_text()
    blocks = "".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    commands = [line[line.index("gcloud ") :] for line in blocks.splitlines() if "gcloud " in line]
    assert len(commands) > 15
    assert _refused(commands, tmp_path) == {}


def _refused(commands: Sequence[str], folder: Path) -> dict[object, object]:
    """Check commands with gcloud's own linter; return the error messages by command."""
    if shutil.which("gcloud") is None:
        pytest.skip("the Google Cloud SDK is not installed")
    file = folder / "commands.json"
    file.write_text(json.dumps([{"command_string": command} for command in commands]))
    lint = ["gcloud", "meta", "lint-gcloud-commands", f"--commands-file={file}"]
    done = subprocess.run(lint, capture_output=True, text=True, timeout=120, check=True)
    outcomes: list[Mapping[str, object]] = json.loads(done.stdout)
    assert len(outcomes) == len(set(commands))
    return {outcome["command_string"]: outcome["error_message"] for outcome in outcomes if not outcome["success"]}
