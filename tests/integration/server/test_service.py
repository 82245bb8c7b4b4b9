"""The service's own pages over a real server: health, metrics, the OpenAPI document, the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema_rs import Draft202012Validator
from prometheus_client.parser import text_string_to_metric_families

from pycalc.routers.http.problem_types import STATUS
from tests.harness.accounts import new_person
from tests.harness.metrics import metric
from tests.harness.servers import Server, pycalc
from tests.harness.waiting import wait_until

# The path of each operation, without its name.
OPERATIONS = {
    "fibonacci": "{n}",
    "factorial": "{n}",
    "pow": "{x}/{y}",
    "binomial": "{n}/{k}",
    "catalan": "{n}",
    "factorize": "{n}",
    "gcd": "{a}/{b}",
    "iroot": "{n}/{k}",
    "isprime": "{n}",
    "lcm": "{a}/{b}",
    "lucas": "{n}",
    "modinverse": "{a}/{m}",
    "nextprime": "{n}",
    "primorial": "{n}",
}
PROBLEM = {"$ref": "#/components/schemas/Problem"}
# The problem types of each operation, except those that all operations have.
PROBLEMS = {
    **{f"GET /{name}/{path}": {401, 403, 412, 416, 422, 429, 503, 504} for name, path in OPERATIONS.items()},
    "POST /calculations": {401, 403, 408, 409, 413, 415, 422, 429, 503, 504},
    "GET /calculations/{calculation_id}": {401, 403, 404, 422, 503},
    "GET /calculations/{calculation_id}/digits": {401, 403, 404, 412, 416, 422, 429, 503, 504},
    "POST /batch": {401, 403, 408, 409, 413, 415, 422, 429, 503},
    "POST /evaluate": {401, 403, 408, 409, 413, 415, 422, 429, 503, 504},
    "POST /evaluate/preview": {401, 403, 408, 413, 415, 422, 429, 503, 504},
    "POST /register": {401, 403, 408, 409, 413, 415, 422, 429, 503},
    "POST /login": {401, 403, 408, 413, 415, 422, 429, 503},
    "POST /token/refresh": {401, 403, 408, 413, 415, 422, 503},
    "POST /logout": {401, 403, 422, 503},
    "POST /logout-all": {401, 403, 422, 503},
    "GET /me": {401, 403, 422, 503},
    "DELETE /me": {401, 403, 408, 409, 413, 415, 422, 429, 503},
    "GET /me/sessions": {401, 403, 422, 503},
    "DELETE /me/sessions/{session_id}": {401, 403, 404, 422, 503},
    "POST /password-reset": {401, 408, 413, 415, 422, 429, 503},
    "PUT /me/password": {401, 403, 408, 409, 413, 415, 422, 429, 503},
    "POST /me/totp": {401, 403, 408, 409, 413, 415, 422, 429, 503},
    "POST /me/totp/confirm": {401, 403, 408, 409, 413, 415, 422, 429, 503},
    "POST /me/totp/disable": {401, 403, 404, 408, 409, 413, 415, 422, 429, 503},
    "GET /admin/audit": {401, 403, 422, 503},
    "GET /admin/dead-letters": {401, 403, 422, 503},
    "POST /admin/dead-letters/{number}/requeue": {401, 403, 404, 422, 503},
    "DELETE /admin/dead-letters/{number}": {401, 403, 404, 422, 503},
    "GET /admin/overview": {401, 403, 422, 503},
    "POST /me/keys": {401, 403, 408, 409, 413, 415, 422, 503},
    "GET /me/keys": {401, 403, 422, 503},
    "GET /me/keys/{key_id}": {401, 403, 404, 422, 503},
    "DELETE /me/keys/{key_id}": {401, 403, 404, 422, 503},
    "GET /users": {401, 403, 422, 503},
    "GET /users/{username}": {401, 403, 404, 422, 503},
    "PATCH /users/{username}": {401, 403, 404, 408, 409, 413, 415, 422, 503},
    "DELETE /users/{username}": {401, 403, 404, 409, 422, 503},
    "DELETE /users/{username}/sessions": {401, 403, 404, 422, 503},
    "POST /users/{username}/password-reset": {401, 403, 404, 409, 422, 503},
    "DELETE /users/{username}/totp": {401, 403, 404, 409, 422, 503},
    "GET /secure-history": {401, 403, 422, 429, 503},
    "GET /usage": {401, 403, 422, 503},
    "GET /events": {401, 403, 422, 503},
}


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    """Return a client of the session's server."""
    with httpx.Client(base_url=server.url, timeout=30) as opened:
        yield opened


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> dict[str, Any]:
    """Return the OpenAPI document."""
    value: dict[str, Any] = client.get("/openapi.json").raise_for_status().json()
    return value


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the documented operations by method and path."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema together with the components to which its references point."""
    return {**schema, "components": document["components"]}


class TestHealth:
    """The pages about health, and the index."""

    @pytest.mark.parametrize("path", ["/healthz", "/health"])
    def test_alive(self, client: httpx.Client, path: str) -> None:
        """The paths /healthz and /health answer without a token; some front ends reserve /healthz."""
        answer = client.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})

    @pytest.mark.parametrize("path", ["/readyz", "/ready"])
    def test_ready(self, client: httpx.Client, path: str) -> None:
        """The paths /readyz and /ready list each dependency with its state and latency."""
        answer = client.get(path)
        assert answer.status_code == 200
        body = answer.json()
        assert body["status"] == "ok"
        assert set(body["checks"]) == {"database", "clock", "cache", "stream", "recorder", "relay", "consumer"}
        for check in body["checks"].values():
            assert check["ok"] is True
            assert check["latency_ms"] >= 0

    def test_the_index_is_for_programs_and_for_people(self, client: httpx.Client) -> None:
        """The index is JSON for a JSON client, and the console for a browser."""
        assert client.get("/").json()["operations"] == [*OPERATIONS, "evaluate"]
        page = client.get("/", headers={"Accept": "text/html,*/*;q=0.8"})
        assert page.headers["Content-Type"].startswith("text/html")


class TestDocuments:
    """The OpenAPI document, and the pages that show it."""

    def test_every_operation_documents_every_problem_it_can_have(self, document: dict[str, Any]) -> None:
        """Every operation documents all its error statuses with the schema Problem.

        Only 414 and 431 are documented without content, because they are sent without a body.
        """
        documented = {
            name: {int(status) for status in operation["responses"] if int(status) >= 400}
            for name, operation in operations(document).items()
        }
        for name, found in documented.items():
            everywhere = {400, 405, 414, 431, 500} | (set() if name.startswith("GET ") else {412})
            assert found >= everywhere
            found -= everywhere
        without = {name: found for name, found in documented.items() if name not in PROBLEMS}
        assert {name: documented.get(name) for name in PROBLEMS} == PROBLEMS
        assert without == {"GET /": {412, 429}, "GET /healthz": set(), "GET /readyz": {503}, "GET /metrics": set()}
        for name in PROBLEMS:
            for status, response in operations(document)[name]["responses"].items():
                if status in ("414", "431"):  # statuses that are sent without a body
                    assert "content" not in response, name
                elif int(status) >= 400:
                    ((media_type, content),) = response["content"].items()
                    assert (media_type, content["schema"]) == ("application/problem+json", PROBLEM), (name, status)

    def test_the_frameworks_own_error_is_nowhere(self, client: httpx.Client) -> None:
        """The framework's own error schema is not in the document, because it is never sent."""
        assert "HTTPValidationError" not in client.get("/openapi.json").text

    def test_examples_are_valid(self, document: dict[str, Any]) -> None:
        """Each example of a problem or a schema is valid for its schema."""
        checked = 0
        for operation in operations(document).values():
            for response in operation["responses"].values():
                for content in response.get("content", {}).values():
                    validator = Draft202012Validator(resolved(document, content.get("schema", {})))
                    for example in content.get("examples", {}).values():
                        validator.validate(example["value"])
                        checked += 1
        for schema in document["components"]["schemas"].values():
            validator = Draft202012Validator(resolved(document, schema))
            for example in (schema["example"],) if "example" in schema else schema.get("examples", ()):
                validator.validate(example)
                checked += 1
        assert checked > 20

    def test_answers_fit_their_schemas(self, client: httpx.Client, document: dict[str, Any]) -> None:
        """JSON responses for results, the history and an account fit their documented schemas."""
        person = new_person(client)
        for path, name in (
            ("/fibonacci/100", "GET /fibonacci/{n}"),
            ("/pow/2/0.5", "GET /pow/{x}/{y}"),
            ("/pow/10/-3", "GET /pow/{x}/{y}"),
            ("/pow/7/10?mod=11", "GET /pow/{x}/{y}"),
            ("/fibonacci/1000000000000000000?view=summary", "GET /fibonacci/{n}"),
            ("/secure-history", "GET /secure-history"),
            ("/me", "GET /me"),
        ):
            schema = operations(document)[name]["responses"]["200"]["content"]["application/json"]["schema"]
            body = client.get(path, headers=person.headers).raise_for_status().json()
            Draft202012Validator(resolved(document, schema)).validate(body)

    def test_every_representation_of_a_result_is_documented(self, document: dict[str, Any]) -> None:
        """A result is documented as JSON and as text for 200, as text for 206, and without content for 304."""
        for name in ("GET /fibonacci/{n}", "GET /factorial/{n}", "GET /pow/{x}/{y}"):
            responses = operations(document)[name]["responses"]
            assert set(responses["200"]["content"]) == {"application/json", "text/plain"}
            assert set(responses["206"]["content"]) == {"text/plain"}
            assert "content" not in responses["304"]
            assert "Content-Range" in responses["416"]["description"]
            parameters = {parameter["name"] for parameter in operations(document)[name]["parameters"]}
            assert {"mod", "view"} <= parameters

    def test_a_batch_is_documented_with_an_example_that_works(
        self, client: httpx.Client, document: dict[str, Any]
    ) -> None:
        """The batch's example is valid, and its answer fits the documented schema."""
        operation = operations(document)["POST /batch"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        example = document["components"]["schemas"]["Batch"]["example"]
        Draft202012Validator(resolved(document, schema)).validate(example)
        answer = client.post("/batch", json=example, headers=new_person(client).headers).raise_for_status()
        assert [made["result"] for made in answer.json()["results"]] == ["0.5", 72]
        described = operation["responses"]["200"]["content"]["application/json"]["schema"]
        Draft202012Validator(resolved(document, described)).validate(answer.json())

    @pytest.mark.parametrize("page", ["/docs", "/redoc", "/docs/problems", "/"])
    def test_pages_are_served_whole_from_here(self, client: httpx.Client, page: str) -> None:
        """Every script and style of a page is served by this service."""
        answer = client.get(page, headers={"Accept": "text/html"})
        assert answer.status_code == 200
        assert "//" not in answer.text.replace("http://www.w3.org/", "").replace("https://www.rfc-editor.org/", "")
        linked = re.findall(r'(?:<script[^>]*\ssrc|<link[^>]*\shref)="(?!data:)([^"]+)"', answer.text)
        assert linked
        for address in linked:
            assert client.get(httpx.URL(f"http://x{page}").join(address).path).status_code == 200, address

    def test_every_problem_type_is_explained_where_its_uri_leads(self, client: httpx.Client) -> None:
        """The type of every problem is a link to its explanation on the page /docs/problems."""
        page = client.get("/docs/problems").text
        assert [slug for slug in STATUS if f'id="{slug}"' not in page] == []


class TestMetrics:
    """The service's metrics."""

    def test_the_numbers_add_up(self) -> None:
        """After a few requests, the metrics have the right numbers of requests, calculations and events."""
        with pycalc() as server, httpx.Client(base_url=server.url, timeout=30) as client:

            def value(name: str, **labels: str) -> float:
                return sum(
                    sample.value
                    for family in text_string_to_metric_families(client.get("/metrics").text)
                    for sample in family.samples
                    if sample.name == name and labels.items() <= sample.labels.items()
                )

            person = new_person(client)
            for n in (10, 11, 10, 10):
                client.get(f"/fibonacci/{n}", headers=person.headers).raise_for_status()
            assert client.get("/fibonacci/x", headers=person.headers).status_code == 422
            assert client.get("/nowhere/7").status_code == 404

            assert value("pycalc_calculations_total", operation="fibonacci", outcome="computed") == 2
            assert value("pycalc_calculations_total", operation="fibonacci", outcome="cached") == 2
            assert value("pycalc_calculations_total", operation="fibonacci", outcome="refused") == 1
            assert value("pycalc_cache_misses_total") == 2
            assert value("pycalc_cache_errors_total") == 0
            assert value("pycalc_commit_rows_sum") == 4
            assert value("http_requests_total", route="/nowhere/7") == 0
            assert value("http_requests_total", route="(none)", status="404") == 1
            assert value("http_requests_total", route="/register", method="POST", status="201") == 1
            assert value("http_requests_total", method="GET", status="200", route=FIBONACCI) == 4
            assert value("http_requests_total", method="GET", status="422", route=FIBONACCI) == 1
            assert value("http_request_duration_seconds_count", route=FIBONACCI) == 5
            wait_until(lambda: value("pycalc_events_published_total") == 4, "all four events are published")
            wait_until(lambda: value("pycalc_outbox_backlog") == 0, "the backlog is empty")
            assert value("pycalc_recorder_queue_rows") == 0

    def test_a_running_service_collects_garbage(self, client: httpx.Client) -> None:
        """Garbage collection, which is off while a service starts, runs while it serves."""
        before, headers = metric(client, "python_gc_collections_total"), new_person(client).headers
        batch = {"operations": [{"operation": "fibonacci", "input": {"n": n}} for n in range(1_000)]}

        def collected() -> bool:  # called repeatedly, because one batch may leave too few objects for a collection
            client.post("/batch", json=batch, headers=headers).raise_for_status()
            return metric(client, "python_gc_collections_total") > before

        wait_until(collected, "garbage is collected")


FIBONACCI = "/fibonacci/{n}"
