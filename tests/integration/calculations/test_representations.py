"""Representations of results over a real server: digits as text, ranges, conditions, digests, compression."""

from __future__ import annotations

import base64
import gzip
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path

import gmpy2
import httpx
import pytest

from pycalc.services.calculations.planning import DEFAULT_OPTIONS, make_plan
from tests.harness.accounts import Person, new_person
from tests.harness.metrics import computed, metric
from tests.harness.raw import Reply, exchange
from tests.harness.servers import Server, free_port, pycalc, running
from tests.harness.waiting import wait_until

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

F_1000 = (  # the value in the b-file of OEIS A000045
    b"43466557686937456435688527675040625802564660517371780402481729089536555417949051890403879840079255169295922593"
    b"080322634775209689623239873322471161642996440906533187938298969649928516003704476137795166849228875"
)
MILLION = "/fibonacci/1000000"
DIGITS = gmpy2.fib(1_000_000).digits().encode()
TEXT = {"Accept": "text/plain"}
Codec = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    """Return a logged-in client of the session's server."""
    with httpx.Client(base_url=server.url, timeout=60) as opened:
        opened.headers.update(new_person(opened).headers)
        opened.headers["Accept-Encoding"] = "identity"
        yield opened


def raw(server: Server, person: Person, path: str, **fields: str) -> Reply:
    """Send a GET, and return the answer with its body as it was received, not decompressed."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return exchange(server.port, "GET", path, {**person.headers, **named})


@pytest.fixture(scope="module")
def person(server: Server) -> Person:
    """Register a user for requests that are sent without an HTTP library."""
    with httpx.Client(base_url=server.url) as opened:
        return new_person(opened)


class TestBareDigits:
    """Results with ``Accept: text/plain``."""

    def test_the_digits_and_nothing_else(self, client: httpx.Client) -> None:
        """F(1000) is sent as digits only, with header fields for caching and verification."""
        answer = client.get("/fibonacci/1000", headers=TEXT)
        assert (answer.status_code, answer.content) == (200, F_1000)
        digest = base64.b64encode(sha256(F_1000).digest()).decode()
        expected = {
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Length": "209",
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, max-age=31536000, immutable",
            "Repr-Digest": f"sha-256=:{digest}:",
            "Vary": "Accept, Accept-Encoding, Authorization",
            "X-Content-Type-Options": "nosniff",
        }
        assert {name: answer.headers[name] for name in expected} == expected
        assert answer.headers["ETag"].startswith('"')
        assert "Content-Encoding" not in answer.headers

    @pytest.mark.parametrize(
        ("path", "text"),
        [("/pow/2/-1", b"0.5"), ("/pow/3/-1", b"1/3"), ("/pow/-3/3", b"-27"), ("/fibonacci/1000?mod=97", b"72")],
    )
    def test_every_form_of_a_result_is_text(self, client: httpx.Client, path: str, text: bytes) -> None:
        """Decimals, fractions, negative numbers and residues can be requested as text."""
        assert client.get(path, headers=TEXT).content == text

    def test_errors_stay_problems(self, client: httpx.Client) -> None:
        """An error is application/problem+json, whatever the client accepts."""
        answer = client.get("/fibonacci/-1", headers=TEXT)
        assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")

    def test_a_long_result_arrives_whole(self, client: httpx.Client) -> None:
        """F(10^6) arrives with its 208,988 digits, its length and the digest of its bytes."""
        answer = client.get(MILLION, headers=TEXT)
        assert answer.content == DIGITS
        assert answer.headers["Content-Length"] == "208988"
        assert answer.headers["Repr-Digest"] == f"sha-256=:{base64.b64encode(sha256(DIGITS).digest()).decode()}:"

    def test_the_tag_names_the_calculation(self, client: httpx.Client) -> None:
        """A calculation has one strong ETag for all spellings of its operands; another calculation has another one."""
        tag = client.get("/pow/2/10", headers=TEXT).headers["ETag"]
        for same in ("/pow/2/10", "/pow/2.0/1e1", "/pow/02/10"):
            assert client.get(same, headers=TEXT).headers["ETag"] == tag
        for other in ("/pow/2/11", "/pow/2/10?mod=7", "/pow/2/10?mod=2000"):
            assert client.get(other, headers=TEXT).headers["ETag"] != tag
        rounded = {client.get(f"/pow/2/0.5?precision={p}", headers=TEXT).headers["ETag"] for p in (9, 10, 11)}
        assert len(rounded) == 3
        assert not tag.startswith("W/")


class TestRanges:
    """Ranges of a long result."""

    def test_slices_make_up_the_whole(self, client: httpx.Client) -> None:
        """Ranges of 50,001 digits get 206, and together give the whole; the last one is shorter."""
        pages, first = [], 0
        while first < len(DIGITS):
            answer = client.get(MILLION, headers={**TEXT, "Range": f"bytes={first}-{first + 50_000}"})
            last = min(first + 50_000, 208_987)
            assert answer.status_code == 206
            assert answer.headers["Content-Range"] == f"bytes {first}-{last}/208988"
            assert answer.headers["Content-Length"] == str(last - first + 1)
            pages.append(answer.content)
            first = last + 1
        assert b"".join(pages) == DIGITS
        assert len(pages) == 5

    @pytest.mark.parametrize(
        ("field", "content_range", "content"),
        [
            ("bytes=-20", "bytes 208968-208987/208988", b"68996526838242546875"),
            ("bytes=0-19", "bytes 0-19/208988", b"19532821287077577316"),
            ("bytes=208987-", "bytes 208987-208987/208988", b"5"),
            ("bytes=208980-999999", "bytes 208980-208987/208988", b"42546875"),
        ],
    )
    def test_ends(self, client: httpx.Client, field: str, content_range: str, content: bytes) -> None:
        """Ranges return the known first and last digits of F(10^6), with ETag and Cache-Control of the whole."""
        answer = client.get(MILLION, headers={**TEXT, "Range": field})
        assert (answer.status_code, answer.headers["Content-Range"], answer.content) == (206, content_range, content)
        assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
        assert answer.headers["ETag"] == client.get(MILLION, headers=TEXT).headers["ETag"]

    @pytest.mark.parametrize("field", ["bytes=208988-", "bytes=999999-1000000", "bytes=-0"])
    def test_a_range_beyond_the_end_tells_the_length(self, client: httpx.Client, field: str) -> None:
        """A range beyond the end gets 416 with the length in Content-Range (RFC 9110 §15.5.17)."""
        answer = client.get(MILLION, headers={**TEXT, "Range": field})
        assert (answer.status_code, answer.headers["Content-Type"]) == (416, "application/problem+json")
        assert answer.json()["type"] == "/docs/problems#range-not-satisfiable"
        assert answer.headers["Content-Range"] == "bytes */208988"

    @pytest.mark.parametrize("field", ["bytes=0-1,3-4", "items=0-1", "bytes=3-2", "nonsense"])
    def test_what_is_not_one_range_is_the_whole(self, client: httpx.Client, field: str) -> None:
        """A Range field that is not a single valid range is ignored (RFC 9110 §14.2)."""
        answer = client.get("/fibonacci/1000", headers={**TEXT, "Range": field})
        assert (answer.status_code, answer.content) == (200, F_1000)

    def test_if_range(self, client: httpx.Client) -> None:
        """A range request with If-Range gets the range if the ETag matches, and otherwise the whole result."""
        tag = client.get("/fibonacci/1000", headers=TEXT).headers["ETag"]
        part = client.get("/fibonacci/1000", headers={**TEXT, "Range": "bytes=0-3", "If-Range": tag})
        assert (part.status_code, part.content) == (206, b"4346")
        whole = client.get("/fibonacci/1000", headers={**TEXT, "Range": "bytes=0-3", "If-Range": '"another"'})
        assert (whole.status_code, whole.content) == (200, F_1000)

    def test_a_range_is_of_the_plain_digits(self, server: Server, person: Person) -> None:
        """A partial response is never compressed, because offsets count plain digits."""
        reply = raw(server, person, MILLION, Accept="text/plain", Range="bytes=0-9999", Accept_Encoding="zstd, gzip")
        assert (reply.status, reply.headers["Content-Encoding"], reply.body) == (206, None, DIGITS[:10_000])

    def test_json_has_no_ranges(self, client: httpx.Client) -> None:
        """A Range without ``Accept: text/plain`` is ignored."""
        answer = client.get("/fibonacci/1000", headers={"Range": "bytes=0-3"})
        assert (answer.status_code, answer.json()["result"].encode()) == (200, F_1000)


class TestConditions:
    """Requests with ``If-None-Match``."""

    def test_a_good_copy_is_not_sent_again_but_recorded(self, client: httpx.Client) -> None:
        """A matching ETag of any content coding gets 304; the request is recorded as cached and computes nothing."""
        client.headers.update(new_person(client).headers)
        tag = client.get(MILLION, headers=TEXT).headers["ETag"]
        before = computed(client)
        tags = (tag, f'{tag[:-1]}-zstd"', f'{tag[:-1]}-gzip"', f"W/{tag}", f'"other", {tag}')
        for held in tags:
            answer = client.get(MILLION, headers={**TEXT, "If-None-Match": held})
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["ETag"] == (held if held.startswith('"') and "," not in held else tag)
            assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
            assert "Content-Type" not in answer.headers
        assert computed(client) == before
        items = client.get("/secure-history").json()["items"]
        assert [item["cached"] for item in items[: len(tags)]] == [True] * len(tags)
        assert {item["sha256"] for item in items} == {sha256(DIGITS).hexdigest()}

    def test_a_condition_comes_before_a_range(self, client: httpx.Client) -> None:
        """Conditions are evaluated before ranges (RFC 9110 §13.2.2)."""
        tag = client.get("/fibonacci/1000", headers=TEXT).headers["ETag"]
        fields = {**TEXT, "If-None-Match": tag, "Range": "bytes=0-3"}
        assert client.get("/fibonacci/1000", headers=fields).status_code == 304

    def test_another_tag_is_answered_in_full(self, client: httpx.Client) -> None:
        """A request with an ETag that does not match gets the full answer."""
        answer = client.get("/fibonacci/1000", headers={**TEXT, "If-None-Match": '"another"'})
        assert (answer.status_code, answer.content) == (200, F_1000)

    def test_a_tag_can_not_be_made_up(self, client: httpx.Client) -> None:
        """A plain hash of a calculation's cache key is not its ETag, so that clients can't make up ETags."""
        key = make_plan(25_000_000, "fibonacci", ("1000",), DEFAULT_OPTIONS).key
        tag = base64.urlsafe_b64encode(sha256(key.encode()).digest()[:18]).decode()
        answer = client.get("/fibonacci/1000", headers={**TEXT, "If-None-Match": f'"{tag}"'})
        assert (answer.status_code, answer.content) == (200, F_1000)

    def test_what_is_no_longer_cached_is_recorded_by_its_ends(self) -> None:
        """A 304 for an uncached F(10^6) records its size, first and last digits, without computing the others."""
        with pycalc(cache_url="memory://?max_bytes=0") as own, httpx.Client(base_url=own.url, timeout=60) as client:
            client.headers.update(new_person(client).headers)
            tag = client.get(MILLION, headers=TEXT).headers["ETag"]
            assert client.get(MILLION, headers={**TEXT, "If-None-Match": tag}).status_code == 304
            item = client.get("/secure-history").json()["items"][0]
            told = {name: item[name] for name in ("result", "digits", "leading", "trailing", "sha256", "cached")}
            assert told == {
                "result": None,
                "digits": 208_988,
                "leading": "19532821287077577316",
                "trailing": "68996526838242546875",
                "sha256": None,
                "cached": False,
            }
            assert metric(client, "pycalc_response_bytes") == 0

    def test_statuses_are_counted_as_they_are(self, client: httpx.Client) -> None:
        """The metric http_requests_total distinguishes 200, 206 and 304."""

        def counted(status: str) -> float:
            return metric(client, "http_requests_total", route="/fibonacci/{n}", status=status)

        before = {status: counted(status) for status in ("200", "206", "304")}
        tag = client.get("/fibonacci/1000", headers=TEXT).headers["ETag"]
        client.get("/fibonacci/1000", headers={**TEXT, "Range": "bytes=0-3"})
        client.get("/fibonacci/1000", headers={**TEXT, "If-None-Match": tag})
        assert {status: counted(status) - before[status] for status in before} == {"200": 1, "206": 1, "304": 1}


class TestCompression:
    """Requests with ``Accept-Encoding``."""

    @pytest.mark.parametrize(("coding", "decompress"), [("gzip", gzip.decompress), ("zstd", zstd.decompress)])
    @pytest.mark.parametrize("n", [10_000, 1_000_000, 2_000_000])
    def test_the_digits_come_back(self, server: Server, person: Person, coding: str, decompress: Codec, n: int) -> None:
        """Compressed digits decompress to the plain digits. Each coding has its own ETag, and no Repr-Digest.

        A short result is compressed before it is sent, so that the response has a Content-Length.
        """
        plain = raw(server, person, f"/fibonacci/{n}", Accept="text/plain")
        reply = raw(server, person, f"/fibonacci/{n}", Accept="text/plain", Accept_Encoding=coding)
        assert (reply.status, reply.headers["Content-Encoding"]) == (200, coding)
        assert decompress(reply.body) == plain.body == gmpy2.fib(n).digits().encode()
        assert len(reply.body) < (0.45 if coding == "gzip" else 0.55) * len(plain.body)  # gzip by Huffman codes alone
        assert reply.headers["ETag"] == f'{plain.headers["ETag"][:-1]}-{coding}"'
        assert reply.headers["Content-Length"] == (str(len(reply.body)) if n == 10_000 else None)
        assert reply.headers["Repr-Digest"] is None
        assert reply.headers["Vary"] == "Accept, Accept-Encoding, Authorization"

    @pytest.mark.parametrize(
        "fields", [{}, {"Accept_Encoding": "gzip;q=0, zstd;q=0.0"}, {"Accept_Encoding": "br, deflate"}]
    )
    def test_nobody_gets_a_coding_unasked(self, server: Server, person: Person, fields: Mapping[str, str]) -> None:
        """A client that accepts no supported content coding gets uncompressed digits."""
        reply = raw(server, person, "/fibonacci/10000", Accept="text/plain", **fields)
        assert (reply.headers["Content-Encoding"], len(reply.body)) == (None, 2_090)

    def test_short_results_are_not_worth_it(self, server: Server, person: Person) -> None:
        """F(1000), whose 209 digits are too few to be worth compressing, is sent plain with a Content-Length."""
        reply = raw(server, person, "/fibonacci/1000", Accept="text/plain", Accept_Encoding="zstd, gzip")
        assert (reply.headers["Content-Encoding"], reply.body) == (None, F_1000)
        assert reply.headers["Content-Length"] == "209"


class TestLargeJson:
    """Long results as JSON."""

    def test_it_is_one_document(self, client: httpx.Client) -> None:
        """A long result is one JSON document with its digits in a string, Content-Length, Vary and Cache-Control."""
        answer = client.get("/fibonacci/2000000")
        assert answer.headers["Content-Length"] == str(len(answer.content))
        told = answer.json()
        assert told["result"].encode() == gmpy2.fib(2_000_000).digits().encode()
        assert told["digits"] == 417_975
        assert answer.headers["Vary"] == "Accept, Accept-Encoding"
        assert answer.headers["Cache-Control"] == "private, no-store"

    @pytest.mark.parametrize(("coding", "decompress"), [("gzip", gzip.decompress), ("zstd", zstd.decompress)])
    def test_it_is_compressed_when_asked_for(
        self, server: Server, person: Person, coding: str, decompress: Codec
    ) -> None:
        """A long JSON document is compressed on request, and then has no Content-Length."""
        reply = raw(server, person, MILLION, Accept_Encoding=coding)
        assert (reply.headers["Content-Encoding"], reply.headers["Content-Length"]) == (coding, None)
        assert json.loads(decompress(reply.body))["result"].encode() == DIGITS
        assert len(reply.body) < 0.55 * len(DIGITS)


def test_head_of_a_long_result_is_answered(client: httpx.Client) -> None:
    """A HEAD request for a long result is counted as 200, and not as a client that has disconnected (499)."""

    def counted(status: str) -> float:
        return metric(client, "http_requests_total", route="/fibonacci/{n}", status=status)

    client.headers.update(new_person(client).headers)
    answered, gone = counted("200"), counted("499")
    told = client.head("/fibonacci/3000000", headers=TEXT)
    assert (told.status_code, told.content, told.headers["Content-Length"]) == (200, b"", "626963")
    wait_until(lambda: (counted("200"), counted("499")) == (answered + 1, gone), "the HEAD request is counted as 200")


def test_head_is_get_without_the_content(client: httpx.Client) -> None:
    """HEAD has the header fields of GET, no body and no ranges (RFC 9110 §9.3.2, §14.2)."""
    client.headers.update(new_person(client).headers)
    got = client.get("/fibonacci/1000", headers=TEXT)
    told = client.head("/fibonacci/1000", headers={**TEXT, "Range": "bytes=0-3"})
    assert (told.status_code, told.content) == (200, b"")
    for name in ("Content-Length", "ETag", "Repr-Digest", "Content-Type"):
        assert told.headers[name] == got.headers[name]


def test_results_are_not_limited_by_descriptors(tmp_path: Path) -> None:
    """Long results do not use up file descriptors: with at most 160 open files, a service caches 200 of them."""
    command = f"ulimit -n 160; exec {sys.executable} -m pycalc serve"
    port = free_port()
    environment = {"PYCALC_DATA_DIR": str(tmp_path), "PYCALC_PORT": str(port), "PYCALC_BCRYPT_ROUNDS": "4"}
    with (
        running("pycalc with few descriptors", ["bash", "-c", command], "/healthz", port, environment) as server,
        httpx.Client(base_url=server.url, timeout=60) as own,
    ):
        own.headers.update(new_person(own).headers)
        answers = [own.get(f"/fibonacci/{320_000 + n}?view=full").status_code for n in range(200)]
        assert answers == [200] * 200
        assert own.get("/fibonacci/320000?view=full").json()["cached"] is True
