"""Second factors: codes by RFC 6238 that work once, recovery codes, and encrypted secrets."""

from __future__ import annotations

import base64
from time import time
from urllib.parse import parse_qs, urlsplit

import pytest

from pycalc.errors import Conflict, Forbidden, TotpRequired, Unauthorized, WrongPassword
from pycalc.models.auth import KeyRequest, Principal, Registration, Role
from pycalc.services.accounts.totp import SecretCipher
from tests.harness.authentication import Authentication, authentication
from tests.harness.one_time_codes import code_at
from tests.harness.stores import MemoryUserStore

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse battery staple"
ADA, BOB = b"a" * 16, b"b" * 16
NOW = 1_796_000_000 - 1_796_000_000 % 30  # the first second of a time step


class Enrolled:
    """A service with a clock that the test sets, and the secret and recovery codes of the account that enrolled."""

    def __init__(self) -> None:
        self.now = float(NOW)
        self.users = MemoryUserStore()
        self.services = authentication(self.users, wall_clock=lambda: self.now)
        self.secret = ""
        self.recovery: list[str] = []

    async def caller(self, name: str = "ada") -> Principal:
        """Register an account, and return it as a caller with a session."""
        return await registered(self.services, name)

    async def enrol(self) -> Principal:
        """Register an account, and turn its second factor on with the code of the present time step."""
        caller = await self.caller()
        self.secret, _ = await self.services.totp.enrol(caller, PASSWORD)
        self.recovery = await self.services.totp.confirm(caller, code_at(self.secret, self.now))
        return caller

    async def accepts(self, code: str | None) -> bool:
        """Return whether a login with the right password and this code succeeds."""
        try:
            await self.services.authenticator.log_in("ada", PASSWORD, code)
        except Unauthorized:
            return False
        return True


async def registered(services: Authentication, name: str, role: Role = Role.USER) -> Principal:
    """Register an account, and return it as a caller with a session."""
    await services.accounts.register(
        Registration(username=name, email=f"{name}@example.com", password=PASSWORD, role=role), None, None
    )
    token = (await services.authenticator.log_in(name, PASSWORD)).access.encode()
    return await services.authenticator.authenticate(token, enrolling=True)


@pytest.fixture
async def ada() -> Enrolled:
    """Return an account whose second factor was turned on a minute ago."""
    enrolled = Enrolled()
    await enrolled.enrol()
    enrolled.now += 60
    return enrolled


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")],
)
def test_codes_are_those_of_rfc_6238(seconds: int, code: str) -> None:
    """The tests' own codes equal the last six digits of the values in RFC 6238, appendix B."""
    assert code_at(base64.b32encode(b"12345678901234567890").decode(), seconds) == code


async def test_the_uri_has_what_an_app_needs() -> None:
    """The otpauth URI names service and account, and contains the secret of 160 bits."""
    enrolled = Enrolled()
    secret, uri = await enrolled.services.totp.enrol(await enrolled.caller(), PASSWORD)
    assert len(base64.b32decode(secret)) == 20
    parts = urlsplit(uri)
    assert (parts.scheme, parts.netloc, parts.path) == ("otpauth", "totp", "/pycalc:ada")
    assert parse_qs(parts.query) == {"secret": [secret], "issuer": ["pycalc"]}


async def test_a_login_needs_no_code_until_the_enrolment_is_confirmed() -> None:
    """While a secret is unconfirmed, a login needs no code; a wrong code does not confirm the secret."""
    enrolled = Enrolled()
    caller = await enrolled.caller()
    secret, _ = await enrolled.services.totp.enrol(caller, PASSWORD)
    with pytest.raises(WrongPassword):
        await enrolled.services.totp.confirm(caller, code_at(secret, NOW + 90))
    assert await enrolled.accepts(None)
    await enrolled.services.totp.confirm(caller, code_at(secret, NOW))
    with pytest.raises(TotpRequired):
        await enrolled.services.authenticator.log_in("ada", PASSWORD)


async def test_a_code_is_asked_for_after_the_right_password_only(ada: Enrolled) -> None:
    """A wrong password is refused in the same way with and without a code, so that a guess reveals nothing."""
    for code in (None, code_at(ada.secret, ada.now)):
        with pytest.raises(Unauthorized) as refusal:
            await ada.services.authenticator.log_in("ada", "a wrong password", code)
        assert type(refusal.value) is Unauthorized
    assert await ada.accepts(code_at(ada.secret, ada.now))


@pytest.mark.parametrize(
    ("offset", "accepted"), [(-60, False), (-31, False), (-30, True), (0, True), (30, True), (59, True), (60, False)]
)
async def test_the_clock_may_be_a_step_off(ada: Enrolled, offset: int, accepted: bool) -> None:
    """The codes of the previous, the present and the next time step are accepted, no others."""
    assert await ada.accepts(code_at(ada.secret, ada.now + offset)) is accepted


async def test_a_code_works_once(ada: Enrolled) -> None:
    """A used code is refused, and so are codes of earlier time steps (RFC 6238 §5.2)."""
    assert await ada.accepts(code_at(ada.secret, ada.now))
    assert not await ada.accepts(code_at(ada.secret, ada.now))
    assert not await ada.accepts(code_at(ada.secret, ada.now - 30))
    assert await ada.accepts(code_at(ada.secret, ada.now + 30))
    assert not await ada.accepts(code_at(ada.secret, ada.now))


async def test_the_code_of_the_enrolment_opens_no_session() -> None:
    """The code that confirmed the enrolment opens no session."""
    enrolled = Enrolled()
    await enrolled.enrol()
    assert not await enrolled.accepts(code_at(enrolled.secret, enrolled.now))


async def test_a_code_may_be_written_with_spaces(ada: Enrolled) -> None:
    """Spaces in a code are ignored, because apps show it in two groups."""
    code = code_at(ada.secret, ada.now)
    assert await ada.accepts(f" {code[:3]} {code[3:]}")


@pytest.mark.parametrize("code", ["", "12345", "1234567", "١٢٣٤٥٦", "\x00", "a" * 64, "0000-0000-0000"])
async def test_what_is_no_code_is_refused(ada: Enrolled, code: str) -> None:
    """A text that is neither six digits nor a recovery code is refused."""
    assert not await ada.accepts(code)


async def test_each_recovery_code_opens_one_session(ada: Enrolled) -> None:
    """There are ten different recovery codes of 120 bits; case, hyphens and spaces are ignored; each works once."""
    assert len({*ada.recovery}) == 10
    assert all(len(base64.b32decode(code.replace("-", "").upper())) == 15 for code in ada.recovery)
    written = [ada.recovery[0], ada.recovery[1].upper(), ada.recovery[2].replace("-", ""), *ada.recovery[3:]]
    assert [await ada.accepts(code) for code in written] == [True] * 10
    assert [await ada.accepts(code) for code in written] == [False] * 10
    assert await ada.accepts(code_at(ada.secret, ada.now))


async def test_secrets_are_not_stored_in_plain_text(ada: Enrolled) -> None:
    """The store contains neither the secret nor a recovery code in plain text."""
    store = ada.services.second_factors
    (user_id,) = store.stored
    raw = base64.b32decode(ada.secret)
    assert raw not in store.stored[user_id].secret
    plain = {code.encode() for code in ada.recovery} | {code.replace("-", "").encode() for code in ada.recovery}
    assert not plain & store.recovery[user_id]
    assert {len(each) for each in store.recovery[user_id]} == {32}


async def test_it_is_turned_off_with_password_and_code(ada: Enrolled) -> None:
    """Turning the second factor off needs password and code; afterwards the password is enough."""
    caller = await ada.services.authenticator.authenticate(
        (await ada.services.authenticator.log_in("ada", PASSWORD, ada.recovery[0])).access.encode()
    )
    code = code_at(ada.secret, ada.now)
    for password, given in (("a wrong password", code), (PASSWORD, code_at(ada.secret, ada.now + 90))):
        with pytest.raises(WrongPassword):
            await ada.services.totp.disable(caller, password, given)
    assert not await ada.accepts(None)
    await ada.services.totp.disable(caller, PASSWORD, code)
    assert await ada.accepts(None)


async def test_an_admin_must_enrol_where_the_setting_says_so() -> None:
    """If admins must have a second factor, one who has none is refused until the enrolment is confirmed."""
    services = authentication(MemoryUserStore(), admins_need_totp=True)
    await registered(services, "bob")
    root = await registered(services, "root", Role.ADMIN)
    token = (await services.authenticator.log_in("root", PASSWORD)).access.encode()
    _, key = await services.keys.create(root, KeyRequest(name="made before the setting"))
    for refused in (token, token, key.encode()):
        with pytest.raises(Forbidden):
            await services.authenticator.authenticate(refused)
    enrolling = await services.authenticator.authenticate(token, enrolling=True)
    secret, _ = await services.totp.enrol(enrolling, PASSWORD)
    await services.totp.confirm(enrolling, code_at(secret, time()))
    assert (await services.authenticator.authenticate(token)).username == "root"
    assert (await services.authenticator.authenticate(key.encode())).is_key


async def test_an_admin_resets_others_only() -> None:
    """An admin's reset removes another user's second factor, but not the admin's own."""
    enrolled = Enrolled()
    root = await registered(enrolled.services, "root", Role.ADMIN)
    ada = await enrolled.enrol()
    user, admin = enrolled.users.users[ada.user_id], enrolled.users.users[root.user_id]
    await enrolled.services.totp.reset(root, user)
    assert await enrolled.accepts(None)
    with pytest.raises(Conflict):
        await enrolled.services.totp.reset(root, admin)


def test_a_secret_is_read_with_its_key_and_for_its_account_only() -> None:
    """A secret can be decrypted only with a listed key and for its account; encrypting twice gives different texts."""
    cipher = SecretCipher(["k" * 32])
    stored = cipher.encrypt(b"secret", ADA)
    assert cipher.decrypt(stored, ADA) == b"secret"
    assert cipher.encrypt(b"secret", ADA) != stored
    changed = bytes([*stored[:-1], stored[-1] ^ 1])
    for reader, text, owner in ((cipher, stored, BOB), (cipher, changed, ADA), (SecretCipher(["o" * 32]), stored, ADA)):
        with pytest.raises(ValueError, match=r"secret"):
            reader.decrypt(text, owner)
    with pytest.raises(ValueError, match="at least one"):
        SecretCipher([])


def test_a_secret_moves_to_the_newest_key() -> None:
    """After a key rotation, a secret is encrypted again with the newest key, once."""
    old, both, new = SecretCipher(["o" * 32]), SecretCipher(["n" * 32, "o" * 32]), SecretCipher(["n" * 32])
    stored = old.encrypt(b"secret", ADA)
    renewed = both.renewed(stored, ADA)
    assert new.decrypt(renewed, ADA) == b"secret"
    assert both.renewed(renewed, ADA) == renewed
