"""``make check-deploy``: check the files for deployment and CI by their own tools or published schemas.

Only the first run needs the network: it installs tools, and downloads the schema of Google's Terraform provider. A
check whose tool is not installed is skipped, except in CI, where it fails.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from deploy.check.discovery import compare
from deploy.check.processes import CACHE, lines, report, run
from deploy.check.terraform import Terraform, planned, terraform


def _schema(schema: str, file: str) -> Callable[[], str]:
    return lambda: lines("check-jsonschema", "--builtin-schema", schema, file)


def _checkov(framework: str, *arguments: str) -> str:
    """Return the line with checkov's counts; raises ValueError for findings that no comment in the file justifies."""
    flags = ("--framework", framework, "--quiet", "--compact", "--skip-download")
    output = run("checkov", *flags, *arguments)
    return next((line for line in output.splitlines() if line.startswith("Passed checks")), "nothing to check")


class _Infrastructure:
    """The checks of deploy/gcp. Those that need ``terraform init`` share a copy of the folder and the plans."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    @cache  # noqa: B019  # one instance, as long as the program
    def _terraform(self) -> Terraform:
        CACHE.mkdir(parents=True, exist_ok=True)
        return self._stack.enter_context(terraform(CACHE))

    @cache  # noqa: B019
    def _plans(self) -> list[Path]:
        ready = self._terraform()
        return [ready.plan(), ready.plan(vpc_access="connector")]

    def format(self) -> str:
        """Check that every file has the format of ``terraform fmt``."""
        return lines("terraform", "fmt", "-check", "-recursive", "deploy/gcp")

    def validate(self) -> str:
        """Check every resource, argument and reference against the provider's schema."""
        return self._terraform()("validate", "-no-color").strip()

    def test(self) -> str:
        """Run the module's own tests."""
        return self._terraform()("test", "-no-color").strip().splitlines()[-1]

    def plan(self) -> str:
        """Plan the module for both values of ``vpc_access``; return how many resources each plan creates."""
        return ", ".join(f"{planned(plan)} resources" for plan in self._plans())

    def discovery(self) -> str:
        """Compare the planned Cloud Run resources with the API's own description (its discovery document)."""
        told = []
        for plan in self._plans():
            found = compare(json.loads(plan.read_text()))
            if found.problems:
                raise ValueError("\n".join(found.problems))
            told.append(f"{found.fields} fields agree")
        return f"{', '.join(told)}; run.v2 of {found.revision}"

    def checkov(self) -> str:
        """Check a plan by checkov's rules."""
        return _checkov(
            "terraform_plan", "--repo-root-for-plan-enrichment", "deploy/gcp", "--file", str(self._plans()[0])
        )


def _checks(stack: ExitStack) -> dict[str, Callable[[], str]]:
    cloud = _Infrastructure(stack)
    scripts = sorted(str(script) for script in Path("deploy").rglob("*.sh"))
    workflows = sorted(str(file) for file in Path(".github/workflows").glob("*.yml"))
    return {
        "hadolint Dockerfile": lambda: lines("hadolint", "Dockerfile"),
        "checkov Dockerfile": lambda: _checkov("dockerfile", "--file", "Dockerfile"),
        "shellcheck deploy": lambda: lines("shellcheck", *scripts),
        "schema compose.yaml": _schema("vendor.compose-spec", "compose.yaml"),
        "schema cloudbuild.yaml": _schema("vendor.cloudbuild", "cloudbuild.yaml"),
        "schema dependabot.yml": _schema("vendor.dependabot", ".github/dependabot.yml"),
        **{f"schema {file}": _schema("vendor.github-workflows", file) for file in workflows},
        "checkov workflows": lambda: _checkov("github_actions", "--directory", ".github"),
        "promtool check config": lambda: lines("promtool", "check", "config", "deploy/prometheus/prometheus.yml"),
        "promtool check rules": lambda: lines("promtool", "check", "rules", "deploy/prometheus/alerts.yml"),
        "promtool test rules": lambda: lines("promtool", "test", "rules", "deploy/prometheus/alerts.test.yml"),
        "terraform fmt": cloud.format,
        "terraform validate": cloud.validate,
        "terraform test": cloud.test,
        "terraform plan": cloud.plan,
        "discovery document": cloud.discovery,
        "checkov terraform": cloud.checkov,
    }


def main() -> int:
    """Run every check; print its outcome and its time; return 1 when one fails, else 0."""
    with ExitStack() as stack:
        return report(_checks(stack))


if __name__ == "__main__":
    sys.exit(main())
