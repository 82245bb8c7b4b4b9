"""Run Terraform on deploy/gcp with the offline provider, without a registry, credentials or a cloud."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.check.processes import run
from deploy.check.provider import serving
from deploy.check.schemas import PROVIDER_VERSION, Types

SOURCE = Path("deploy/gcp")
# The folder outside deploy/gcp that the module reads.
RULES = Path("deploy/prometheus")
_DECLARED = re.compile(r'^(resource|data) "(google_\w+)"', re.MULTILINE)
_NOT_COMMITTED = shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars")
_LOCAL = 'terraform {\n  backend "local" {}\n}\n'
_VARIABLES = {
    "project_id": "pycalc-check-1",
    "billing_account": "012345-6789AB-CDEF01",
    "alert_email": "on-call@example.com",
    "image": "europe-west1-docker.pkg.dev/pycalc-check-1/pycalc/pycalc:1",
    "database_password": "0" * 32,
    "database_api_password": "3" * 32,
    "database_consumer_password": "4" * 32,
    "secret_keys": "1" * 32,
    "password_keys": "2" * 32,
}


class Terraform:
    """A copy of deploy/gcp in which Terraform commands run."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self._environment = {**os.environ, **environment, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}

    def __call__(self, *arguments: str) -> str:
        """Run a Terraform command and return its output; raises Missing, ValueError or TimeoutExpired."""
        return run("terraform", *arguments, folder=self.folder, environment=self._environment)

    def plan(self, **variables: str) -> Path:
        """Plan with these variables, and return the file that holds the plan as JSON; raises Missing or ValueError."""
        given = [f"-var={name}={value}" for name, value in {**_VARIABLES, **variables}.items()]
        self("plan", "-input=false", "-lock=false", "-out=plan", *given)
        file = self.folder / f"plan{len(variables)}.json"
        file.write_text(self("show", "-json", "plan"))
        return file


def declared() -> set[str]:
    """Return the names of the schemas that deploy/gcp needs, as ``Types.schemas`` takes them.

    Raises ValueError unless deploy/gcp pins the version PROVIDER_VERSION of the provider.
    """
    text = "".join(file.read_text() for file in sorted(SOURCE.glob("*.tf")))
    pin = f'version = "{PROVIDER_VERSION}"'
    if pin not in text:
        raise ValueError(f"deploy/gcp does not pin the provider that is checked here: {pin}")
    return {"provider"} | {f"{kind}_{name}" for kind, name in _DECLARED.findall(text)}


@contextmanager
def terraform(cache: Path) -> Iterator[Terraform]:
    """Copy deploy/gcp, run ``terraform init`` in the copy, and yield it; ``cache`` keeps the downloaded schemas."""
    schemas = Types(cache).schemas(declared())
    with TemporaryDirectory() as folder, serving(schemas) as environment:
        copy = Path(shutil.copytree(SOURCE, Path(folder) / "gcp", ignore=_NOT_COMMITTED))
        shutil.copytree(RULES, Path(folder) / RULES.name)
        (copy / "backend_override.tf").write_text(_LOCAL)
        ready = Terraform(copy, environment)
        ready("init", "-input=false")
        yield ready


def planned(file: Path) -> int:
    """Return how many resources a plan creates."""
    return len(json.loads(file.read_text())["planned_values"]["root_module"]["resources"])
