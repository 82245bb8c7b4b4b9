"""Operands of up to 1,000,000 characters in ``POST /calculations``."""

from __future__ import annotations

from hashlib import sha256
from random import Random

import flint
import gmpy2
import httpx
import pytest

from pycalc.resources.wiring import Resources
from pycalc.settings import Settings
from tests.harness.accounts import history_of, new_session
from tests.harness.in_process import changed

pytestmark = pytest.mark.anyio

MOST = 1_000_000  # the most characters of an operand
NOT_CACHED = {"cache_url": "memory://?max_bytes=0"}


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Return settings with the changes in the test's parameters, if any."""
    return changed(settings, **getattr(request, "param", {}))


@pytest.fixture
async def caller(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Return the client, logged in and without compression."""
    await new_session(client)
    client.headers["Accept-Encoding"] = "identity"
    return client


def number(seed: int, digits: int = MOST) -> str:
    """Return a random whole number with ``digits`` digits, always the same for the same arguments."""
    drawn = Random(seed)  # noqa: S311  # no secret
    return drawn.choice("123456789") + "".join(drawn.choices("0123456789", k=digits - 1))


def is_rough(n: flint.fmpz) -> bool:
    """Return whether a number has no prime factor up to 10,000."""
    return bool(n.gcd(flint.fmpz(int(gmpy2.primorial(10_000)))) == 1)


async def calculate(client: httpx.AsyncClient, operation: str, **operands: str) -> httpx.Response:
    """Post a calculation."""
    return await client.post("/calculations", json={"operation": operation, "input": operands})


async def user_of(client: httpx.AsyncClient, resources: Resources) -> bytes:
    """Return the caller's user id, which is the key of the user's limits."""
    await client.get("/me")  # after this request, the token is in the token cache
    token = client.headers["Authorization"].removeprefix("Bearer ").encode()
    user = resources.authenticator.token_cache.user_of(token)
    assert user is not None
    return user


def abbreviated(operand: str) -> str:
    """Return a long operand in the abbreviated form of answers and history."""
    return (
        f"{operand[:20]}...{operand[-20:]} ({len(operand)} characters, SHA-256 {sha256(operand.encode()).hexdigest()})"
    )


async def test_divisor_and_multiple(caller: httpx.AsyncClient) -> None:
    """The gcd and lcm of two numbers of a million digits equal FLINT's; both are recorded and can be read."""
    shared, one, other = number(1, MOST // 2), number(2, MOST // 2), number(3, MOST // 2)
    a, b = (str(flint.fmpz(shared) * flint.fmpz(each)) for each in (one, other))
    expected = {"gcd": flint.fmpz(a).gcd(flint.fmpz(b)), "lcm": flint.fmpz(a).lcm(flint.fmpz(b))}
    for operation, value in expected.items():
        answer = await calculate(caller, operation, a=a, b=b)
        assert answer.status_code == 201
        body = answer.json()
        assert body["result"] == str(value)
        assert body["input"] == {"a": abbreviated(a), "b": abbreviated(b)}
        digits = await caller.get(f"{answer.headers['Location']}/digits", headers={"Range": "bytes=5-14"})
        assert (digits.status_code, digits.text) == (206, str(value)[5:15])
        item = (await history_of(caller))[0]
        assert (item["id"], item["input"], item["result"]) == (body["id"], body["input"], None)
        assert (item["digits"], item["sha256"]) == (len(str(value)), sha256(str(value).encode()).hexdigest())
    assert len(await history_of(caller)) == 2


async def test_primality_of_a_long_number(caller: httpx.AsyncClient) -> None:
    """A number of 1,000,000 digits with a small factor is composite; one without is refused as too expensive."""
    answer = await calculate(caller, "isprime", n=number(7, MOST - 1) + "5")
    assert (answer.status_code, answer.json()["result"]) == (201, False)
    rough = next(n for n in (flint.fmpz(number(8, MOST - 1) + "1") + 10 * k for k in range(100)) if is_rough(n))
    refused = await calculate(caller, "isprime", n=str(rough))
    assert refused.status_code == 504
    assert "far longer than" in refused.json()["detail"]


async def test_inverse_root_and_binomial(caller: httpx.AsyncClient) -> None:
    """Inverse, root and binomial coefficient of operands with 1,000,000 digits agree with computations by FLINT."""
    a = number(4)
    m = next(each for each in map(number, range(5, 50)) if flint.fmpz(a).gcd(flint.fmpz(each)) == 1)
    inverse = (await calculate(caller, "modinverse", a=a, m=m)).json()["result"]
    assert flint.fmpz(a) * flint.fmpz(inverse) % flint.fmpz(m) == 1
    root = (await calculate(caller, "iroot", n=a, k="2")).json()["result"]
    assert root["root"] == str(flint.fmpz(a).isqrt())
    assert root["remainder"] == str(flint.fmpz(a) - flint.fmpz(a).isqrt() ** 2)
    pairs = (await calculate(caller, "binomial", n=a, k="2")).json()["result"]
    assert pairs == str(flint.fmpz(a) * (flint.fmpz(a) - 1) // 2)


async def test_every_form_of_a_literal(caller: httpx.AsyncClient) -> None:
    """Hexadecimal and binary operands may have 1,000,000 characters; underscores and a sign are accepted too."""
    hexadecimal, binary = "0x" + "f" * (MOST - 2), "0b" + "1" * (MOST - 2)
    answer = (await calculate(caller, "gcd", a=hexadecimal, b=binary)).json()
    # gcd(2^m - 1, 2^n - 1) = 2^gcd(m, n) - 1, with m = 4·(10^6 - 2) and n = 10^6 - 2
    assert answer["result"] == str(flint.fmpz(2) ** (MOST - 2) - 1)
    grouped, negative = "_".join("1" * (MOST // 2)), "-" + "1" * (MOST // 4)
    answer = (await calculate(caller, "gcd", a=grouped, b=negative)).json()
    assert answer["result"] == "1" * (MOST // 4)


@pytest.mark.parametrize(
    ("operation", "operands", "detail"),
    [
        ("gcd", {"a": "7" * (MOST + 1), "b": "1"}, "a must have at most 1,000,000 characters."),
        ("gcd", {"a": "1e20000", "b": "1"}, "a must have at most 10,000 digits with its exponent written out."),
        ("gcd", {"a": "7" * (MOST - 1) + "x", "b": "1"}, "a must be a whole number such as 12, -12, 1e6 or 0xFF."),
        ("fibonacci", {"n": "7" * 10_001}, "n must have at most 10,000 characters."),
        ("pow", {"x": "7" * MOST, "y": "2"}, "x must have at most 10,000 digits, or be taken with mod."),
    ],
)
async def test_a_longer_operand_is_refused(
    caller: httpx.AsyncClient, operation: str, operands: dict[str, str], detail: str
) -> None:
    """An operand that is invalid or too long for its operation gets 422 with a pointer to it; nothing is recorded."""
    answer = await calculate(caller, operation, **operands)
    assert answer.status_code == 422
    (name, *_) = operands
    assert answer.json()["errors"] == [{"pointer": f"/input/{name}", "detail": detail}]
    assert await history_of(caller) == []


@pytest.mark.parametrize("settings", [NOT_CACHED], indirect=True)
async def test_a_result_that_is_not_cached_needs_its_operands(caller: httpx.AsyncClient) -> None:
    """Without a cache, reading a long result of long operands gets 404, because the history stores neither."""
    kept = await calculate(caller, "gcd", a=number(6, MOST - 2) + "00", b="100")
    assert (await caller.get(f"{kept.headers['Location']}/digits")).text == "100"
    lost = await calculate(caller, "gcd", a="3" * MOST, b="6" * MOST)
    digits = f"{lost.headers['Location']}/digits"
    answer = await caller.get(digits)
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("The operands of this calculation are too long to be kept")
    assert (await caller.get(digits, headers={"If-None-Match": "*"})).status_code == 304


async def test_equal_operands_share_the_cache(caller: httpx.AsyncClient) -> None:
    """A repeated calculation comes from the cache, whatever the form of its operands."""
    a = number(7, 50_000)
    first = await calculate(caller, "gcd", a=a, b="0")
    second = await calculate(caller, "gcd", a=f"+00{a}", b="0x0")
    other = await calculate(caller, "gcd", a=f"{a}0", b="0")
    assert [answer.json()["cached"] for answer in (first, second, other)] == [False, True, False]
    assert [answer.json()["result"] for answer in (first, second, other)] == [a, a, f"{a}0"]


async def test_a_long_body_counts_towards_the_response_memory(caller: httpx.AsyncClient, resources: Resources) -> None:
    """If the memory for long bodies and responses has no room for a long body, the request gets 503.

    After all requests have ended, no memory and no slot for long bodies is taken.
    """
    user = await user_of(caller, resources)
    total = resources.response_memory.total
    with resources.response_memory.acquire(user, total // 2 - 1_000_000):
        assert (await calculate(caller, "gcd", a="7" * MOST, b="1")).status_code == 503
        assert (await calculate(caller, "gcd", a="7" * 10_000, b="1")).status_code == 201
    assert (await calculate(caller, "gcd", a="7" * MOST, b="1")).status_code == 201
    assert len(await history_of(caller)) == 2
    assert (resources.response_memory.taken, resources.long_bodies.taken) == (0, 0)


async def test_a_body_over_a_mebibyte_takes_two_slots(caller: httpx.AsyncClient, resources: Resources) -> None:
    """A user has 16 slots for long bodies that are being read, and a body above a mebibyte needs two of them."""
    user = await user_of(caller, resources)
    with resources.long_bodies.acquire(user, 15):
        assert (await calculate(caller, "gcd", a="7" * MOST, b="7" * MOST)).status_code == 503
        assert (await calculate(caller, "gcd", a="7" * MOST, b="7")).status_code == 201


async def test_a_power_of_a_long_base_modulo_a_number(caller: httpx.AsyncClient) -> None:
    """The residue of a power with a long base equals GMP's."""
    x, m = number(9), number(10, 1_000)
    residue = gmpy2.powmod(gmpy2.mpz(x), 12_345, gmpy2.mpz(m)).digits()
    body = {"operation": "pow", "input": {"x": x, "y": "12345"}, "mod": m}
    answer = await caller.post("/calculations", json=body)
    assert (answer.status_code, answer.json()["result"]) == (201, residue)
    assert answer.json()["input"]["x"] == abbreviated(x)
