"""A comparison of Terraform's planned Cloud Run resources with the API's own description (its discovery document)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import googleapiclient

_DOCUMENT = Path(googleapiclient.__file__).parent / "discovery_cache/documents/run.v2.json"
_MESSAGES = {
    "google_cloud_run_v2_service": "GoogleCloudRunV2Service",
    "google_cloud_run_v2_job": "GoogleCloudRunV2Job",
    "google_cloud_run_v2_worker_pool": "GoogleCloudRunV2WorkerPool",
}
_TERRAFORMS_OWN = {"deletion_protection", "location", "project", "timeouts"}
_JSON: dict[str, type | tuple[type, ...]] = {"string": str, "boolean": bool, "integer": int, "number": (int, float)}


@dataclass(slots=True)
class Comparison:
    """The mistakes found in a plan, the number of compared fields, and the revision of the API's description."""

    revision: str
    fields: int = 0
    problems: list[str] = field(default_factory=list)


def compare(plan: Mapping[str, Any]) -> Comparison:
    """Compare each Cloud Run resource of a plan (``terraform show -json``) with its message type in the API."""
    document = json.loads(_DOCUMENT.read_text())
    comparison = Comparison(document["revision"])
    for resource in plan["planned_values"]["root_module"]["resources"]:
        if message := _MESSAGES.get(resource["type"]):
            values = {name: value for name, value in resource["values"].items() if name not in _TERRAFORMS_OWN}
            for where, problem in _compared(document["schemas"], message, values, resource["address"]):
                comparison.fields += 1
                comparison.problems += [f"{where}: {problem}"] if problem else []
    return comparison


def _compared(schemas: Any, message: str, values: Mapping[str, Any], where: str) -> Iterator[tuple[str, str]]:
    """Yield the path of each field that is set, with a description of its mistake, or "" if it is correct."""
    for name, value in values.items():
        if value is None or value in ([], {}):
            continue
        at, wanted = f"{where}.{name}", schemas[message]["properties"].get(_camel(name))
        if wanted is None:
            yield at, f"{message} has no {_camel(name)}"
        elif wanted.get("readOnly"):
            yield at, "is read-only"
        else:
            yield from _value(schemas, wanted, value, at)


def _value(schemas: Any, wanted: Mapping[str, Any], value: Any, at: str) -> Iterator[tuple[str, str]]:
    if wanted.get("type") == "array":
        for n, item in enumerate(value):
            yield from _value(schemas, wanted["items"], item, f"{at}[{n}]")
    elif reference := wanted.get("$ref"):
        yield at, ""
        for item in value if isinstance(value, list) else [value]:  # Terraform writes a single block as a list of one
            yield from _compared(schemas, reference, item, at)
    elif wanted.get("type") == "object":
        expected = _JSON[wanted["additionalProperties"]["type"]]
        yield at, "" if all(isinstance(item, expected) for item in value.values()) else f"not a map: {value!r}"
    else:
        yield at, _scalar(wanted, value)


def _scalar(wanted: Mapping[str, Any], value: Any) -> str:
    kind = wanted["type"]
    if not isinstance(value, _JSON[kind]) or (kind == "integer" and isinstance(value, bool)):
        return f"{value!r} is no {kind}"
    if "enum" in wanted and value not in wanted["enum"]:
        return f"{value!r} is none of {', '.join(wanted['enum'])}"
    if wanted.get("format") == "google-duration" and not re.fullmatch(r"\d+(\.\d{1,9})?s", str(value)):
        return f"{value!r} is no duration such as 30s"
    return ""


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
