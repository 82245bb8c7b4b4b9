"""Residues modulo m, and summaries, also of results that are too long to be written out."""

from __future__ import annotations

import math
import random
import secrets
from collections.abc import Iterator

import gmpy2
import httpx
import mpmath
import pytest

from pycalc.services.operations.numbers.gmp import text_of
from tests.harness.accounts import new_person
from tests.harness.metrics import computed
from tests.harness.operands import primorial
from tests.harness.servers import Server

QUINTILLION = 10**18
PRIME_26 = int(gmpy2.next_prime(10**25))
DIGITS_1200 = int("7" * 599 + "3" + "1" * 600)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    """Return a logged-in client of the session's server."""
    with httpx.Client(base_url=server.url, timeout=60) as opened:
        opened.headers.update(new_person(opened).headers)
        yield opened


def fibonacci_modulo(n: int, modulus: int) -> int:
    """Return F(n) modulo ``modulus``, by powers of the matrix ((1, 1), (1, 0))."""

    def product(a: tuple[int, int, int], b: tuple[int, int, int]) -> tuple[int, int, int]:
        return (
            (a[0] * b[0] + a[1] * b[1]) % modulus,
            (a[0] * b[1] + a[1] * b[2]) % modulus,
            (a[1] * b[1] + a[2] * b[2]) % modulus,
        )

    result, power = (1 % modulus, 0, 1 % modulus), (1, 1, 0)
    while n:
        if n & 1:
            result = product(result, power)
        power = product(power, power)
        n >>= 1
    return result[1]


def residue(client: httpx.Client, path: str, modulus: int) -> int:
    """Request a result modulo ``modulus``, and return the residue."""
    answer = client.get(path, params={"mod": str(modulus)})
    assert answer.status_code == 200, answer.text
    assert answer.json()["exact"] is True
    return int(answer.json()["result"])


class TestResidues:
    """Requests with ``?mod=``."""

    @pytest.mark.parametrize("modulus", [1, 2, 97, 10**9 + 7, 2**64, 10**20, DIGITS_1200])
    def test_fibonacci_of_a_thousand_digit_index(self, client: httpx.Client, modulus: int) -> None:
        """F(10^1000) mod m agrees with powers of a matrix, for m from 1 to a number of 1,200 digits."""
        assert residue(client, f"/fibonacci/{10**1000}", modulus) == fibonacci_modulo(10**1000, modulus)

    def test_powers_with_thousand_digit_operands(self, client: httpx.Client) -> None:
        """x^y mod m equals Python's ``pow``, for operands of 10, 100 and 1,000 digits."""
        numbers = random.Random(3)  # noqa: S311  # reproducible operands
        for digits in (10, 100, 1000):
            x, y, m = (numbers.randrange(10 ** (digits - 1), 10**digits) for _ in range(3))
            assert residue(client, f"/pow/{x}/{y}", m) == pow(x, y, m)
            assert residue(client, f"/pow/-{x}/{y}", m) == pow(-x, y, m)

    def test_a_negative_exponent_is_an_inverse(self, client: httpx.Client) -> None:
        """A negative exponent uses an inverse: 3^-1 is 5 modulo 7, and a power to -10^30 equals Python's ``pow``."""
        assert residue(client, "/pow/3/-1", 7) == 5
        assert residue(client, f"/pow/12345/-{10**30}", PRIME_26) == pow(12345, -(10**30), PRIME_26)

    @pytest.mark.parametrize("path", ["/pow/2/-1?mod=6", "/pow/21/-5?mod=14", "/pow/0.5/3?mod=10", "/pow/2/0.5?mod=7"])
    def test_without_an_inverse_there_is_no_residue(self, client: httpx.Client, path: str) -> None:
        """With ``mod``, a base or denominator without an inverse, or an irrational power, gives a domain-error."""
        answer = client.get(path)
        assert (answer.status_code, answer.json()["type"]) == (422, "/docs/problems#domain-error")

    @pytest.mark.parametrize("mod", ["0", "0e3", "0x0", "-1", "abc", "", "1.5", "1e-3", "%2B7", "9" * 10_001])
    @pytest.mark.parametrize("path", ["/fibonacci/10", "/factorial/10", "/pow/2/10"])
    def test_a_modulus_is_a_whole_number_from_1(self, client: httpx.Client, path: str, mod: str) -> None:
        """An invalid modulus gets 422 with a pointer to /mod, for fibonacci, factorial and pow."""
        answer = client.get(f"{path}?mod={mod}")
        assert (answer.status_code, answer.json()["type"]) == (422, "/docs/problems#validation-error")
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/mod"]

    def test_factorials(self, client: httpx.Client) -> None:
        """Factorials modulo m agree with multiplication for small n, are 0 for n >= m, and satisfy Wilson's theorem."""
        assert residue(client, f"/factorial/{QUINTILLION}", 10**17) == 0
        assert residue(client, "/factorial/97", 97) == 0
        assert residue(client, f"/factorial/{10**9 + 6}", 10**9 + 7) == 10**9 + 6
        product = 1
        for k in range(1, 2_001):
            product = product * k % PRIME_26
        assert residue(client, "/factorial/2000", PRIME_26) == product

    def test_factorials_modulo_a_prime_near_the_square_root(self, client: httpx.Client) -> None:
        """(2·10^8)! modulo 14,149·q agrees with Wilson's theorem, where q is the prime 2·10^8 + 33.

        14,149 is a prime near the square root of 2·10^8.
        """
        found = residue(client, "/factorial/200000000", 14_149 * 200_000_033)
        assert found % 14_149 == 0
        assert found * math.prod(range(200_000_001, 200_000_033)) % 200_000_033 == 200_000_032  # Wilson's theorem

    def test_an_index_and_a_modulus_with_all_small_primes(self, client: httpx.Client) -> None:
        """(m - 1)! modulo m is 0, for an m of about 3,000 digits that is twice the product of the first primes."""
        modulus = 2 * primorial(2_999)
        assert residue(client, f"/factorial/{text_of(modulus - 1)}", modulus) == 0

    def test_what_would_take_hours_is_refused_at_once(self, client: httpx.Client) -> None:
        """(10^18)! modulo a prime of 26 digits gets 504 without computing, because the estimated time is too long."""
        answer = client.get(f"/factorial/{QUINTILLION}?mod={PRIME_26}")
        assert (answer.status_code, answer.json()["type"]) == (504, "/docs/problems#computation-timeout")
        assert "would take far longer" in answer.json()["detail"]

    def test_it_is_recorded_with_its_modulus(self, client: httpx.Client) -> None:
        """The history has operands and modulus as the input, and the residue as the result."""
        residue(client, "/pow/7/222", 1000)
        item = client.get("/secure-history", params={"limit": 1}).json()["items"][0]
        assert (item["input"], item["result"], item["digits"]) == ({"x": 7, "y": 222, "mod": 1000}, 49, 2)


class TestSummaries:
    """Requests with ``?view=summary``."""

    @pytest.mark.parametrize(
        ("path", "digits", "leading", "trailing"),
        [
            (f"/fibonacci/{QUINTILLION}", "208987640249978734", "26289788186792204674", "41183788299560546875"),
            (f"/factorial/{QUINTILLION}", "17565705518096748182", "55970735673103951804", "0" * 20),
            (f"/pow/7/{QUINTILLION}", "845098040014256831", "51548526853732574908", "0" * 19 + "1"),
        ],
    )
    def test_of_a_quintillion(self, client: httpx.Client, path: str, digits: str, leading: str, trailing: str) -> None:
        """A summary's size and first digits agree with mpmath's logarithms, its last digits with residues modulo 10^20.

        The history has the same values.
        """
        with mpmath.workdps(80):
            logarithm = {
                "fibonacci": lambda: QUINTILLION * mpmath.log10(mpmath.phi) - mpmath.log10(5) / 2,
                "factorial": lambda: mpmath.loggamma(QUINTILLION + 1) / mpmath.log(10),
                "pow": lambda: QUINTILLION * mpmath.log10(7),
            }[path.split("/")[1]]()
            assert digits == str(int(mpmath.floor(logarithm)) + 1)
            assert (
                mpmath.nstr(mpmath.power(10, logarithm - mpmath.floor(logarithm)), 30)[:21].replace(".", "") == leading
            )
        if path.startswith("/fibonacci"):
            assert trailing == f"{fibonacci_modulo(QUINTILLION, 10**20):020}"
        if path.startswith("/pow"):
            assert trailing == f"{pow(7, QUINTILLION, 10**20):020}"
        answer = client.get(path, params={"view": "summary"}).raise_for_status().json()
        told = {name: answer[name] for name in ("digits", "leading", "trailing", "exact")}
        assert told == {
            "digits": int(digits) if int(digits) < 2**53 else digits,
            "leading": leading,
            "trailing": trailing,
            "exact": True,
        }
        assert "result" not in answer
        item = client.get("/secure-history", params={"limit": 1}).json()["items"][0]
        assert (item["id"], item["result"], item["sha256"]) == (answer["id"], None, None)
        assert item["input"] == answer["input"]
        assert item["input"]["view"] == "summary"
        assert {name: item[name] for name in told} == told

    @pytest.mark.parametrize(
        "path",
        [
            *(f"/fibonacci/{n}" for n in (0, 1, 6, 7, 95, 96, 97, 1_000, 19_999, 20_000, 20_001)),
            *(f"/factorial/{n}" for n in (0, 1, 20, 24, 25, 100, 3_000)),
            "/pow/2/10",
            "/pow/-3/41",
            "/pow/10/20",
            "/pow/10/19",
            "/pow/2/-3",
            "/pow/3/-3",
            "/pow/2.5/30",
            "/pow/7/5000",
            "/pow/99999/20000",
            "/pow/2/0.5",
        ],
    )
    def test_it_agrees_with_the_value(self, client: httpx.Client, path: str) -> None:
        """A summary has the number of digits, the first and the last digits of the full value."""
        text = client.get(path, headers={"Accept": "text/plain"}).raise_for_status().text
        only_digits = text.translate({ord(mark): None for mark in "-./"})
        summary = client.get(path, params={"view": "summary"}).raise_for_status().json()
        assert summary["digits"] == len(only_digits)
        assert (summary["leading"], summary["trailing"]) == (only_digits[:20], only_digits[-20:])

    def test_too_large_a_result_tells_the_same(self, client: httpx.Client) -> None:
        """If a result is too large, the problem has the size, first and last digits of the result's summary.

        Nothing is recorded.
        """
        client.headers.update(new_person(client).headers)
        for path in (f"/fibonacci/{QUINTILLION}", f"/factorial/{QUINTILLION}", f"/pow/7/{QUINTILLION}"):
            refused = client.get(path)
            assert (refused.status_code, refused.json()["type"]) == (422, "/docs/problems#result-too-large")
            assert refused.json()["limit"] == 25_000_000
            assert client.get("/secure-history").json()["items"] == []
            summary = client.get(path, params={"view": "summary"}).json()
            client.headers.update(new_person(client).headers)
            for name in ("digits", "leading", "trailing"):
                assert refused.json()[name] == summary[name]

    def test_it_is_json_whatever_is_accepted(self, client: httpx.Client) -> None:
        """A summary is JSON whatever the client accepts."""
        answer = client.get(f"/fibonacci/{QUINTILLION}?view=summary", headers={"Accept": "text/plain"})
        assert answer.headers["Content-Type"] == "application/json"

    @pytest.mark.parametrize(
        ("query", "pointer"),
        [
            ("view=summary&mod=7", "/view"),
            ("view=bogus", "/view"),
            ("view=", "/view"),
            ("view=Summary", "/view"),
            ("views=summary", "/views"),
        ],
    )
    def test_other_views_are_refused(self, client: httpx.Client, query: str, pointer: str) -> None:
        """An unknown view, a summary of a residue and a misspelled parameter get 422."""
        answer = client.get(f"/fibonacci/10?{query}")
        assert (answer.status_code, answer.json()["type"]) == (422, "/docs/problems#validation-error")
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]

    def test_full_is_the_default(self, client: httpx.Client) -> None:
        """``view=full`` means the same as no view, also for the cache."""
        path = f"/fibonacci/{10_000 + secrets.randbelow(10_000)}"
        client.get(path, params={"view": "full"}).raise_for_status()
        before = computed(client)
        assert client.get(path).json()["cached"] is True
        assert computed(client) == before


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/pow/4/10000.5", pow(2, 20_001, 10**1_100 + 7)),
        ("/pow/-32/10000.2", -pow(2, 50_001, 10**1_100 + 7) % (10**1_100 + 7)),
        ("/pow/-1/0.2", 10**1_100 + 6),
    ],
)
def test_a_long_residue_of_an_exact_root_is_verified(client: httpx.Client, path: str, expected: int) -> None:
    """Long residues of powers with an exact root are right: 4^10000.5, (-32)^10000.2, (-1)^0.2 modulo 10^1100 + 7."""
    answer = client.get(path, params={"mod": "1" + "0" * 1_099 + "7"}).raise_for_status().json()
    assert answer["result"] == str(expected)


def test_a_summary_whose_size_is_too_long_is_refused(client: httpx.Client) -> None:
    """A summary whose number of digits itself has 10,000 digits gets 422, because it does not fit into an event."""
    answer = client.get("/pow/10/1e9999", params={"view": "summary"})
    assert answer.status_code == 422
    assert [entry["pointer"] for entry in answer.json()["errors"]] == ["/view"]
