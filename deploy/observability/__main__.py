"""``make dashboards``: write the alert rules and the dashboards, with the metric names that the code exports."""

from __future__ import annotations

from pathlib import Path

from deploy.observability.alerts import rules
from deploy.observability.dashboards import DASHBOARDS, rendered

_DEPLOY = Path(__file__).resolve().parents[1]


def files() -> dict[Path, str]:
    """Return the content of each generated file."""
    folder = _DEPLOY / "grafana/dashboards"
    boards = {folder / f"{dashboard.uid}.json": rendered(dashboard) for dashboard in DASHBOARDS}
    return {_DEPLOY / "prometheus/alerts.yml": rules(), **boards}


def main() -> None:
    """Write all generated files."""
    for file, text in files().items():
        file.write_text(text)


if __name__ == "__main__":
    main()
