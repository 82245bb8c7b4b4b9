"""Exports over a real server: complete or visibly cut off, limited in number, and no burden to other requests."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import delete

from pycalc.db import open_database
from pycalc.db.history import SqlHistoryStore
from pycalc.db.tables import outbox
from pycalc.models.ids import id_of_text
from tests.harness.accounts import PASSWORD, Person, new_admin, new_person
from tests.harness.metrics import metric
from tests.harness.servers import Server, pycalc
from tests.harness.stores import history_row
from tests.harness.waiting import DEADLINE_SECONDS, wait_until

NDJSON, CSV = "application/x-ndjson", "text/csv"
# So many rows that they fill every buffer between the service and an idle client several times.
MANY = 30_000


@dataclass(frozen=True, slots=True)
class Service:
    """A service, its first admin, and a user with a long history."""

    server: Server
    client: httpx.Client
    admin: Person
    veteran: Person

    def log_in(self, person: Person) -> Person:
        """Open another session of a user."""
        answer = self.client.post("/login", json={"username": person.name, "password": PASSWORD})
        return Person(person.name, person.id, answer.raise_for_status().json()["access_token"])


def remember(data: Path, person: Person, rows: int) -> None:
    """Store ``rows`` calculations of a person in the database of a data folder."""

    async def work() -> None:
        database = await open_database(f"sqlite:///{data / 'pycalc.db'}")
        made = [history_row(n, user_id=id_of_text(person.id)) for n in range(rows)]
        await SqlHistoryStore(database).append(made)
        await database.write(lambda connection: connection.execute(delete(outbox)))
        await database.aclose()

    asyncio.run(work())


@contextmanager
def served(data: Path, program: str = "serve") -> Iterator[Service]:
    """Run a service on a folder; yield it with an admin and a user who has a long history."""
    with pycalc(data=data) as server, httpx.Client(base_url=server.url) as client:
        admin, veteran = new_admin(client, data), new_person(client)
    remember(data, veteran, MANY)
    with pycalc(program, data=data) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        yield Service(server, client, admin, veteran)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run one service for the tests that do not change it."""
    with served(tmp_path_factory.mktemp("data")) as running:
        yield running


@contextmanager
def exporting(service: Service, person: Person, media_type: str = NDJSON) -> Iterator[httpx.Response]:
    """Begin an uncompressed export on a new connection; a long export is sent only as fast as the caller reads it."""
    headers = {**person.headers, "Accept": media_type, "Accept-Encoding": "identity"}
    with httpx.stream("GET", f"{service.server.url}/secure-history", headers=headers, timeout=30) as answer:
        yield answer


def export(service: Service, person: Person, media_type: str = NDJSON, **filters: str) -> httpx.Response:
    """Request an export, and return the whole answer."""
    headers = {**person.headers, "Accept": media_type}
    return service.client.get("/secure-history", headers=headers, params=filters).raise_for_status()


def page(service: Service, person: Person, **filters: str) -> dict[str, Any]:
    """Return a page of the history."""
    answer = service.client.get("/secure-history", headers=person.headers, params=filters)
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


def calculate(service: Service, person: Person, *paths: str) -> list[str]:
    """Make calculations, and return their ids."""
    return [service.client.get(path, headers=person.headers).raise_for_status().json()["id"] for path in paths]


def test_an_export_is_all_the_pages(service: Service) -> None:
    """An export of 30,000 rows has every item of the pages once, in the same order."""
    items: list[dict[str, Any]] = []
    cursor: str | None = None
    while cursor is not None or not items:
        found = page(service, service.veteran, limit="1000", **({"cursor": cursor} if cursor else {}))
        items += found["items"]
        cursor = found["next_cursor"]
    exported = export(service, service.veteran)
    lines = exported.text.splitlines(keepends=True)
    assert len(lines) == MANY
    assert [json.loads(line) for line in lines] == items
    assert all(line.endswith("}\n") for line in lines)
    assert exported.headers["Content-Type"] == NDJSON


def test_csv_says_the_same(service: Service) -> None:
    """The CSV follows RFC 4180 and has a header line; cells are the items' values, null is empty, operands are JSON."""
    person = new_person(service.client)
    calculate(service, person, "/pow/-2/3", "/pow/1/3", "/pow/2/-1.5", "/pow/7/-1", "/fibonacci/100", "/factorial/2000")
    exported = export(service, person, CSV)
    assert exported.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    assert exported.text.count("\n") == exported.text.count("\r\n") == 7
    rows = list(csv.DictReader(io.StringIO(exported.text, newline=""), strict=True))
    items = page(service, person)["items"]
    assert [list(row) for row in rows] == [list(item) for item in items]
    for row, item in zip(rows, items, strict=True):
        assert json.loads(row.pop("input")) == item.pop("input")
        assert float(row.pop("elapsed_ms")) == item.pop("elapsed_ms")
        assert row == {name: cell(value) for name, value in item.items()}
    assert all(row[end].isdigit() for row in rows for end in ("leading", "trailing"))
    assert {row["result"] for row in rows} >= {"-8", "1", "1/7", "354224848179261915075", ""}


def cell(value: object) -> str:
    """Return the CSV cell that is expected for a JSON value."""
    return "" if value is None else {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


@pytest.mark.parametrize(("media_type", "name"), [(NDJSON, "history.ndjson"), (CSV, "history.csv")])
def test_an_export_is_a_file_for_its_owner(service: Service, media_type: str, name: str) -> None:
    """An export is an attachment with a file name and may not be cached; HEAD sends the same header fields."""
    headers = {**service.veteran.headers, "Accept": media_type}
    answer = service.client.get("/secure-history", headers=headers, params={"limit": "3"})
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert answer.headers["Vary"] == "Accept, Accept-Encoding"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Content-Length" not in answer.headers
    head = service.client.head("/secure-history", headers=headers)
    assert (head.status_code, head.content) == (200, b"")
    told = ("Content-Type", "Content-Disposition", "Cache-Control", "Vary")
    assert [head.headers[field] for field in told] == [answer.headers[field] for field in told]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", "application/json"),
        ("application/json, text/csv", "application/json"),
        ("text/csv;q=0.5, application/json;q=0.4", "text/csv"),
        ("TEXT/CSV", "text/csv"),
        ("text/*", "text/csv"),
        ("text/csv;q=0.5, */*", "application/json"),
        ("application/x-ndjson, text/csv;q=0.9", "application/x-ndjson"),
        ("text/csv;q=0", "application/json"),
        ("application/xml", "application/json"),
    ],
)
def test_accept_chooses(service: Service, accept: str, expected: str) -> None:
    """The media type with the highest weight in Accept is chosen; the default is a page in JSON."""
    headers = {**service.veteran.headers, "Accept": accept}
    answer = service.client.get("/secure-history", headers=headers, params={"limit": "2"})
    assert answer.headers["Content-Type"].partition(";")[0] == expected
    assert answer.headers["Vary"] == "Accept, Accept-Encoding"


def test_the_document_tells_of_the_forms(service: Service) -> None:
    """The OpenAPI document of the history lists JSON, both export formats, and the refusal of too many exports."""
    answers = service.client.get("/openapi.json").json()["paths"]["/secure-history"]["get"]["responses"]
    assert set(answers["200"]["content"]) == {"application/json", NDJSON, CSV}
    assert set(answers["503"]["content"]["application/problem+json"]["examples"]) == {"overloaded", "unavailable"}


def test_the_selection_is_that_of_a_page(service: Service) -> None:
    """Filters, ``limit`` and ``cursor`` select the same calculations as for pages."""
    person = new_person(service.client)
    made = calculate(service, person, *(f"/fibonacci/{n}" for n in range(5)), "/pow/2/3")

    def ids(**filters: str) -> list[str]:
        return [json.loads(line)["id"] for line in export(service, person, **filters).text.splitlines()]

    assert ids() == made[::-1]
    assert ids(operation="pow") == made[5:]
    assert ids(limit="2") == made[:3:-1]
    assert ids(cursor=made[3]) == made[2::-1]
    assert ids(cursor=page(service, person, limit="4")["next_cursor"]) == made[1::-1]
    assert [item["id"] for item in page(service, person, cursor=made[3])["items"]] == made[2::-1]
    assert ids(since="9999-12-31T23:59:59Z") == []
    assert ids(user=person.name.upper()) == made[::-1]


def test_an_admin_exports_everyones(service: Service) -> None:
    """An admin exports the calculations of all users, or of one user by name."""
    person = new_person(service.client)
    made = calculate(service, person, "/fibonacci/1", "/fibonacci/2")
    newest = export(service, service.admin, limit="2").text.splitlines()
    assert [json.loads(line)["id"] for line in newest] == made[::-1]
    assert len(export(service, service.admin, CSV, user=service.veteran.name).text.splitlines()) == MANY + 1


@pytest.mark.parametrize(
    ("query", "status", "slug"),
    [
        ("cursor=nonsense", 422, "validation-error"),
        ("limit=0", 422, "validation-error"),
        ("format=csv", 422, "validation-error"),
        ("user=somebody-else", 403, "forbidden"),
    ],
)
def test_a_refused_export_is_a_problem(service: Service, query: str, status: int, slug: str) -> None:
    """An error before the first byte of an export is answered with a problem."""
    headers = {**service.veteran.headers, "Accept": CSV}
    answer = service.client.get(f"/secure-history?{query}", headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/docs/problems#{slug}")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert service.client.get("/secure-history", headers={"Accept": CSV}).status_code == 401


def test_later_calculations_are_not_exported(service: Service) -> None:
    """An export contains only calculations made before it began."""
    session = service.log_in(service.veteran)
    with exporting(service, session) as answer:
        lines = answer.iter_lines()
        first = json.loads(next(lines))["id"]
        assert first == page(service, session, limit="1")["items"][0]["id"]
        calculate(service, session, "/fibonacci/1")
        rest = [json.loads(line)["id"] for line in lines]
    assert len(rest) == MANY - 1
    assert rest == sorted(rest, reverse=True)
    assert rest[0] < first


@pytest.mark.parametrize("program", ["serve", "uvicorn"])
def test_the_end_of_a_session_cuts_off_its_export(tmp_path: Path, program: str) -> None:
    """If the reader's session ends, the export is visibly cut off.

    After a new login, another export can continue after the last line received.
    """
    with served(tmp_path, program) as service:
        with exporting(service, service.veteran) as answer:
            arriving = answer.iter_lines()
            lines = [next(arriving)]
            assert service.client.post("/logout", headers=service.veteran.headers).status_code == 204
            with pytest.raises(httpx.RemoteProtocolError):
                lines.extend(arriving)
        assert 0 < len(lines) < MANY
        assert metric(service.client, "pycalc_history_exports_cut_total", reason="unauthorized") == 1
        assert metric(service.client, "pycalc_history_exports") == 0
        again = service.log_in(service.veteran)
        rest = export(service, again, cursor=json.loads(lines[-1])["id"]).text.splitlines()
        assert len(lines) + len(rest) == MANY


def test_the_end_of_the_service_cuts_off_an_export(tmp_path: Path) -> None:
    """When the service stops, the export of a client that does not read is cut off, and does not delay the stop."""
    with served(tmp_path) as service, exporting(service, service.veteran) as answer:
        lines = answer.iter_lines()
        next(lines)
        service.server.process.terminate()
        assert service.server.process.wait(DEADLINE_SECONDS) == 0
        with pytest.raises(httpx.TransportError):
            assert len(list(lines)) < MANY - 1


def test_stalled_exports_block_nobody(service: Service) -> None:
    """Four exports that nobody reads, as many as there are database readers, block neither pages nor calculations."""
    people = [service.log_in(service.veteran), service.admin, new_person(service.client)]
    with ExitStack() as stack:
        for person in people[:2]:
            for _ in range(2):
                answer = stack.enter_context(exporting(service, person))
                assert answer.status_code == 200
        assert metric(service.client, "pycalc_history_exports") == 4
        assert len(page(service, people[2])["items"]) == 0
        calculate(service, people[2], "/fibonacci/7")
        assert len(page(service, people[2])["items"]) == 1


def test_exports_are_bounded(service: Service) -> None:
    """A user's third simultaneous export is refused until one of the other two ends."""
    person = service.log_in(service.veteran)
    refused_before = metric(service.client, "pycalc_history_exports_refused_total")
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(exporting(service, person, CSV))
        refused = service.client.get("/secure-history", headers={**person.headers, "Accept": CSV})
        assert (refused.status_code, refused.json()["type"]) == (503, "/docs/problems#overloaded")
        assert refused.headers["Retry-After"] == "5"
        assert metric(service.client, "pycalc_history_exports_refused_total") == refused_before + 1
        assert len(page(service, person)["items"]) == 50
    wait_until(lambda: metric(service.client, "pycalc_history_exports") == 0, "all exports have ended")
    assert export(service, person, CSV, limit="1").status_code == 200
