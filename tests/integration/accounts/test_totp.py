"""Second factors (TOTP) over HTTP: enrolment, logins, limits, resets by admins, and required second factors."""

from __future__ import annotations

from time import time

import httpx
import pytest

from pycalc.settings import Settings
from tests.harness.accounts import PASSWORD, new_name, registration
from tests.harness.in_process import changed, in_process
from tests.harness.one_time_codes import STEP_SECONDS, code_at

pytestmark = pytest.mark.anyio


class Person:
    """An account with a session, and its second factor once it is enrolled."""

    def __init__(self, client: httpx.AsyncClient, name: str) -> None:
        self.client = client
        self.name = name
        self.headers = dict[str, str]()
        self.secret = ""
        self.recovery: list[str] = []
        self._step = 0.0

    async def log_in(self, **more: object) -> httpx.Response:
        """Log in with the right password, and keep the session if the login succeeds."""
        answer = await self.client.post("/login", json={"username": self.name, "password": PASSWORD, **more})
        if answer.status_code == 200:
            self.headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        return answer

    async def post(self, path: str, **body: object) -> httpx.Response:
        """Send a JSON body with the account's session, and return the answer."""
        return await self.client.post(path, headers=self.headers, json=body)

    async def enrol(self) -> None:
        """Turn the second factor on."""
        offered = await self.post("/me/totp", password=PASSWORD)
        assert offered.status_code == 201, offered.text
        self.secret = offered.json()["secret"]
        self._step = time()
        confirmed = await self.post("/me/totp/confirm", totp=code_at(self.secret, self._step))
        assert confirmed.status_code == 200, confirmed.text
        self.recovery = confirmed.json()["recovery_codes"]

    def next_code(self) -> str:
        """Return the code of the time step after the enrolment; the service accepts codes that are one step early."""
        return code_at(self.secret, self._step + STEP_SECONDS)


async def person(client: httpx.AsyncClient, **more: object) -> Person:
    """Register an account, log it in, and return it."""
    name = new_name()
    assert (await client.post("/register", json=registration(name, **more))).status_code == 201
    registered = Person(client, name)
    assert (await registered.log_in()).status_code == 200
    return registered


@pytest.fixture
async def ada(client: httpx.AsyncClient) -> Person:
    """Return an account with a second factor."""
    enrolled = await person(client)
    await enrolled.enrol()
    return enrolled


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Return settings that let anybody register an admin, with the test's own changes."""
    return changed(settings, admin_registration="open", **getattr(request, "param", {}))


async def test_a_login_needs_a_code(ada: Person) -> None:
    """With a second factor, a login without a code gets 401 totp-required. A code is accepted only once."""
    refused = await ada.log_in()
    assert (refused.status_code, refused.json()["type"]) == (401, "/docs/problems#totp-required")
    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="pycalc"'
    code = ada.next_code()
    assert (await ada.log_in(totp=code)).status_code == 200
    assert (await ada.client.get("/fibonacci/10", headers=ada.headers)).status_code == 200
    replayed = await ada.log_in(totp=code)
    assert (replayed.status_code, replayed.json()["type"]) == (401, "/docs/problems#unauthorized")


async def test_a_wrong_password_says_nothing_about_codes(ada: Person) -> None:
    """A login with a wrong password does not reveal that the account has a second factor."""
    answers = [
        await ada.client.post("/login", json={"username": name, "password": "a wrong password"})
        for name in (ada.name, new_name())
    ]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["type"] == "/docs/problems#unauthorized"


async def test_the_oauth2_form_takes_a_code_too(ada: Person) -> None:
    """A login by OAuth 2 form takes a code; without one, the error is ``totp_required``."""
    form = {"username": ada.name, "password": PASSWORD}
    refused = await ada.client.post("/login", data=form)
    assert (refused.status_code, refused.json()["error"]) == (400, "totp_required")
    wrong = await ada.client.post("/login", data={**form, "totp": "abc"})
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_grant")
    assert (await ada.client.post("/login", data={**form, "totp": ada.next_code()})).status_code == 200


async def test_a_secret_is_shown_once(ada: Person) -> None:
    """While a second factor is enabled, ``GET /me`` shows this, and another enrolment gets 409."""
    assert (await ada.client.get("/me", headers=ada.headers)).json()["totp"] is True
    for path, body in (("/me/totp", {"password": PASSWORD}), ("/me/totp/confirm", {"totp": ada.next_code()})):
        assert (await ada.post(path, **body)).status_code == 409


async def test_enrolling_needs_the_password_and_a_code(client: httpx.AsyncClient) -> None:
    """Enrolling needs the password, and the second factor is enabled only once a code confirms it."""
    bob = await person(client)
    assert (await bob.post("/me/totp", password="a wrong password")).status_code == 403
    assert (await bob.post("/me/totp/confirm", totp="123456")).status_code == 409
    assert (await bob.post("/me/totp", password=PASSWORD)).status_code == 201
    assert (await bob.post("/me/totp/confirm", totp="abc")).status_code == 403
    assert (await client.get("/me", headers=bob.headers)).json()["totp"] is False
    assert (await bob.log_in()).status_code == 200


async def test_confirming_ends_the_other_sessions_at_once(client: httpx.AsyncClient) -> None:
    """Confirming a second factor ends the user's other sessions at once, even if their tokens are cached."""
    bob = await person(client)
    other = bob.headers
    assert (await client.get("/me", headers=other)).status_code == 200
    assert (await bob.log_in()).status_code == 200
    await bob.enrol()
    assert (await client.get("/me", headers=bob.headers)).status_code == 200
    assert (await client.get("/me", headers=other)).status_code == 401


async def test_recovery_codes_log_in_and_disable(ada: Person) -> None:
    """A recovery code replaces a TOTP code once, to log in or, with the password, to disable the second factor."""
    assert (await ada.log_in(totp=ada.recovery[0])).status_code == 200
    assert (await ada.log_in(totp=ada.recovery[0])).status_code == 401
    for password, totp in (("a wrong password", ada.recovery[1]), (PASSWORD, ada.recovery[0])):
        assert (await ada.post("/me/totp/disable", password=password, totp=totp)).status_code == 403
    assert (await ada.post("/me/totp/disable", password=PASSWORD, totp=ada.recovery[1])).status_code == 204
    assert (await ada.post("/me/totp/disable", password=PASSWORD, totp=ada.recovery[2])).status_code == 404
    assert (await ada.log_in()).status_code == 200


@pytest.mark.parametrize("settings", [{"login_limit": "3/minute"}], indirect=True)
async def test_guesses_at_a_code_are_throttled(ada: Person) -> None:
    """Wrong codes count as failed logins: above the limit even the right code gets 429. Missing codes do not count."""
    for _ in range(4):
        assert (await ada.log_in()).json()["type"] == "/docs/problems#totp-required"
    assert [(await ada.log_in(totp="abc")).status_code for _ in range(4)] == [401, 401, 401, 429]
    assert (await ada.log_in(totp=ada.next_code())).status_code == 429


@pytest.mark.parametrize("settings", [{"login_limit": "3/minute"}], indirect=True)
@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("/me/totp", {"password": "a wrong password"}),
        ("/me/totp/confirm", {"totp": "abc"}),
        ("/me/totp/disable", {"password": "a wrong password", "totp": "abc"}),
    ],
)
async def test_a_stolen_session_does_not_guess(client: httpx.AsyncClient, path: str, wrong: dict[str, str]) -> None:
    """Wrong passwords and codes sent with a session count as failed logins."""
    bob = await person(client)
    assert (await bob.post("/me/totp", password=PASSWORD)).status_code == 201
    assert [(await bob.post(path, **wrong)).status_code for _ in range(4)] == [403, 403, 403, 429]


async def test_second_factors_are_ones_own(ada: Person) -> None:
    """A user can neither use another user's recovery code nor reset that user's second factor."""
    bob = await person(ada.client)
    await bob.enrol()
    assert (await bob.log_in(totp=ada.recovery[0])).status_code == 401
    assert (await bob.post("/me/totp/disable", password=PASSWORD, totp=ada.recovery[0])).status_code == 403
    assert (await ada.client.delete(f"/users/{ada.name}/totp", headers=bob.headers)).status_code == 403
    assert (await ada.log_in(totp=ada.recovery[0])).status_code == 200


async def test_an_admin_resets_a_lost_second_factor(ada: Person) -> None:
    """After an admin's reset of a second factor, the account's sessions have ended, and the password alone logs in."""
    admin = await person(ada.client, role="admin")
    path = f"/users/{ada.name}/totp"
    assert (await ada.client.get(f"/users/{ada.name}", headers=admin.headers)).json()["totp"] is True
    assert (await ada.client.delete(path, headers=admin.headers)).status_code == 204
    assert (await ada.client.get("/me", headers=ada.headers)).status_code == 401
    assert (await ada.client.delete(path, headers=admin.headers)).status_code == 404
    assert (await ada.client.delete(f"/users/{new_name()}/totp", headers=admin.headers)).status_code == 404
    assert (await ada.client.delete(f"/users/{admin.name}/totp", headers=admin.headers)).status_code == 409
    assert (await ada.log_in()).status_code == 200


@pytest.mark.parametrize("settings", [{"admin_totp": "required"}], indirect=True)
async def test_an_admin_must_enrol_first(client: httpx.AsyncClient) -> None:
    """If admins need a second factor, an admin without one can read their account and enrol, but not calculate."""
    admin, user = await person(client, role="admin"), await person(client)
    allowed = {"/me": 200, "/users": 403, "/fibonacci/10": 403, "/usage": 403, "/secure-history": 403, "/me/keys": 403}
    for path, status in allowed.items():
        assert (await client.get(path, headers=admin.headers)).status_code == status, path
        if path != "/users":
            assert (await client.get(path, headers=user.headers)).status_code == 200, path
    assert (await admin.post("/me/keys", name="key")).status_code == 403
    await admin.enrol()
    for path in allowed:
        assert (await client.get(path, headers=admin.headers)).status_code == 200, path


@pytest.mark.parametrize("settings", [{"admin_totp": "required"}], indirect=True)
async def test_a_promoted_user_must_enrol_too(client: httpx.AsyncClient) -> None:
    """If admins need a second factor, a user who becomes admin without one can't calculate, but can log out."""
    admin, user = await person(client, role="admin"), await person(client)
    await admin.enrol()
    assert (await client.get("/fibonacci/10", headers=user.headers)).status_code == 200
    promoted = await client.patch(f"/users/{user.name}", headers=admin.headers, json={"role": "admin"})
    assert promoted.status_code == 200
    assert (await client.get("/fibonacci/10", headers=user.headers)).status_code == 403
    assert (await user.post("/logout")).status_code == 204


async def test_a_second_factor_outlasts_a_new_password_key(settings: Settings) -> None:
    """While PYCALC_PASSWORD_KEYS has a new key and the old one, TOTP codes and recovery codes are accepted.

    After the old key is removed, TOTP codes are refused if their secret is still encrypted with that key. Recovery
    codes are accepted.
    """
    old, new = "o" * 32, "n" * 32
    async with in_process(changed(settings, password_keys=old)) as client:
        ada, bob = await person(client), await person(client)
        await ada.enrol()
        await bob.enrol()
    async with in_process(changed(settings, password_keys=f"{new},{old}")) as client:
        ada.client = bob.client = client
        assert (await ada.log_in(totp=ada.next_code())).status_code == 200
        assert (await ada.post("/me/totp/disable", password=PASSWORD, totp=ada.recovery[0])).status_code == 204
        # This encrypts the password's hash with the new key, but not the secret of the codes.
        assert (await bob.log_in(totp=bob.recovery[0])).status_code == 200
    async with in_process(changed(settings, password_keys=new)) as client:
        bob.client = client
        assert (await bob.log_in(totp=bob.next_code())).status_code == 401
        assert (await bob.log_in(totp=bob.recovery[1])).status_code == 200
