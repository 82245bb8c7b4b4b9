"""Settings: their defaults and names, and unsafe values that are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from pycalc.settings import Settings, read_settings, unknown_settings

KEY, OLDER = "k" * 32, "o" * 40


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run each test without settings in the environment, in a folder without ``.env``."""
    monkeypatch.chdir(tmp_path)
    for name in ("K_SERVICE", "PORT", *(f"PYCALC_{field.upper()}" for field in Settings.model_fields)):
        monkeypatch.delenv(name, raising=False)


def test_defaults_are_the_documented_ones() -> None:
    """The main settings have their documented defaults."""
    settings = Settings()
    assert (settings.env, settings.host, settings.port) == ("development", "127.0.0.1", 8080)
    assert settings.database == "sqlite:///data/pycalc.db"
    assert (settings.cache_url, settings.stream_url) == ("memory://", "memory://")
    assert (settings.admin_registration, settings.secret_keys) == ("bootstrap", ())


def test_the_database_stands_in_the_data_folder() -> None:
    """PYCALC_DATA_DIR also moves the default database, but not a database with its own URL."""
    assert Settings(data_dir=Path("/srv/pycalc")).database == "sqlite:////srv/pycalc/pycalc.db"
    assert Settings(database_url="sqlite:///elsewhere.db").database == "sqlite:///elsewhere.db"


def test_production_needs_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """In production, the service requires keys for tokens and for passwords."""
    monkeypatch.setenv("PYCALC_ENV", "production")
    with pytest.raises(ValueError, match="PYCALC_SECRET_KEYS is required"):
        Settings().require_keys()
    monkeypatch.setenv("PYCALC_SECRET_KEYS", KEY)
    with pytest.raises(ValueError, match="PYCALC_PASSWORD_KEYS is required"):
        Settings().require_keys()
    monkeypatch.setenv("PYCALC_PASSWORD_KEYS", OLDER)
    settings = Settings()
    assert [key.get_secret_value() for key in settings.secret_keys] == [KEY]
    assert [key.get_secret_value() for key in settings.password_keys] == [OLDER]


@pytest.mark.parametrize(
    ("name", "value"), [("K_SERVICE", "pycalc"), ("PYCALC_DATABASE_URL", "postgresql://127.0.0.1/pycalc")]
)
def test_keys_are_needed_where_several_instances_share_them(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """On Cloud Run, and with a shared database, keys are required, because all instances need the same ones."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="PYCALC_SECRET_KEYS is required"):
        Settings().require_keys()
    monkeypatch.setenv("PYCALC_SECRET_KEYS_FILE", "/run/secrets/keys")
    with pytest.raises(ValueError, match=r"PYCALC_PASSWORD_KEYS is required.*32 random characters"):
        Settings().require_keys()
    monkeypatch.setenv("PYCALC_PASSWORD_KEYS", KEY)
    Settings().require_keys()


def test_signing_keys_may_be_a_file_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signing keys come from a variable or from a file, not from both; an empty variable names no file."""
    monkeypatch.setenv("PYCALC_ENV", "production")
    monkeypatch.setenv("PYCALC_PASSWORD_KEYS", KEY)
    monkeypatch.setenv("PYCALC_SECRET_KEYS_FILE", "/run/secrets/keys")
    assert Settings().secret_keys_file == Path("/run/secrets/keys")
    monkeypatch.setenv("PYCALC_SECRET_KEYS", KEY)
    with pytest.raises(ValidationError, match="not both"):
        Settings()
    monkeypatch.setenv("PYCALC_SECRET_KEYS_FILE", "")
    assert Settings().secret_keys_file is None


def test_keys_are_separated_by_commas_newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spaces around a key and an empty last entry are ignored; keys are hidden when settings are printed."""
    monkeypatch.setenv("PYCALC_SECRET_KEYS", f" {KEY}, {OLDER},")
    settings = Settings()
    assert [key.get_secret_value() for key in settings.secret_keys] == [KEY, OLDER]
    assert KEY not in repr(settings)


@pytest.mark.parametrize("name", ["PYCALC_SECRET_KEYS", "PYCALC_PASSWORD_KEYS"])
@pytest.mark.parametrize("keys", ["hunter2", f"{KEY},hunter2", "hunter2" * 4])
def test_a_short_key_is_refused_everywhere(monkeypatch: pytest.MonkeyPatch, name: str, keys: str) -> None:
    """A key shorter than 32 characters is refused, without showing it (RFC 7518 §3.2: at least as long as the hash)."""
    monkeypatch.setenv(name, keys)
    with pytest.raises(ValidationError, match="32 characters") as refusal:
        Settings()
    assert name in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_a_refused_key_is_not_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The message for an invalid key names the setting, but does not show its value."""
    from pycalc.cli.main import main

    monkeypatch.setenv("PYCALC_SECRET_KEYS", "hunter2hunter2")
    with pytest.raises(SystemExit) as ended:
        main(["migrate"])
    told = str(ended.value) + "".join(capsys.readouterr())
    assert "PYCALC_SECRET_KEYS" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(("name", "value"), [("PYCALC_ENV", "production"), ("K_SERVICE", "pycalc")])
def test_open_admin_registration_is_refused_where_it_matters(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """PYCALC_ADMIN_REGISTRATION=open, which is for demos, is refused in production and on Cloud Run."""
    monkeypatch.setenv("PYCALC_ADMIN_REGISTRATION", "open")
    monkeypatch.setenv("PYCALC_SECRET_KEYS", KEY)
    monkeypatch.setenv("PYCALC_PASSWORD_KEYS", KEY)
    assert Settings().admin_registration == "open"
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match="PYCALC_ADMIN_REGISTRATION=open"):
        Settings()


def test_port_is_heard_as_port_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """PORT, which Cloud Run sets, is used unless PYCALC_PORT is set."""
    monkeypatch.setenv("PORT", "9000")
    assert Settings().port == 9000
    monkeypatch.setenv("PYCALC_PORT", "9001")
    assert Settings().port == 9001


_EMPTY_TEXTS = ("history_retention", "audit_retention", "compute_quota", "digits_quota")


def test_an_empty_variable_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable means the default, or no limit where the setting is a limit that can be turned off."""
    for name in Settings.model_fields:
        monkeypatch.setenv(f"PYCALC_{name.upper()}", "")
    Path(".env").write_text("PYCALC_HOST=\nPYCALC_MAX_DIGITS=\n")
    settings = Settings()
    limits = {"login_limit": "", "register_limit": "", "page_limit": "", "rate_limit": ""}
    empty: dict[str, object] = {**limits, **dict.fromkeys(_EMPTY_TEXTS, "")}
    empty["history_quota"] = None
    monkeypatch.setenv("PORT", "9000")
    assert Settings().port == 9000
    monkeypatch.setenv("PORT", "")
    defaults = {
        name: field.get_default(call_default_factory=True, validated_data={})
        for name, field in Settings.model_fields.items()
    }
    assert settings.model_dump() == {**defaults, **empty}


@pytest.mark.parametrize(("megabytes", "share"), [(512, 128), (16_384, 1_024)])
def test_responses_take_a_quarter_of_a_small_machine(
    monkeypatch: pytest.MonkeyPatch, megabytes: int, share: int
) -> None:
    """By default, responses may use a quarter of the memory, but at most 1 GiB."""
    monkeypatch.setattr("pycalc.settings.memory", lambda: megabytes * 1024**2)
    assert Settings().response_memory == share * 1024**2


@pytest.mark.parametrize("processes", [1, 2, 4, 8])
def test_server_processes_share_cores_and_memory(monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    """By default, all server processes together have as many workers and as much memory as a single one would."""
    monkeypatch.setattr("pycalc.settings.memory", lambda: 16 * 1024**3)
    monkeypatch.setattr("pycalc.settings.cores", lambda: 8)
    each = Settings(workers=processes, database_url="postgresql://127.0.0.1/pycalc")
    assert (processes * each.compute_workers, each.compute_memory // each.compute_workers) == (8, 1024**3)
    assert processes * each.response_memory == 1024**3


def test_the_largest_result_can_be_sent_and_computed_by_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a small machine, each of many server processes has a worker, and memory for the largest result."""
    monkeypatch.setattr("pycalc.settings.memory", lambda: 1024**3)
    monkeypatch.setattr("pycalc.settings.cores", lambda: 2)
    each = Settings(workers=32, database_url="postgresql://127.0.0.1/pycalc")
    assert (each.compute_workers, each.response_memory) == (1, each.max_digits)


def test_the_port_of_a_kubernetes_service_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """PYCALC_PORT=tcp://..., which Kubernetes sets for a Service named pycalc, is ignored in favour of ``.env``."""
    monkeypatch.setenv("PYCALC_PORT", "tcp://10.3.2.1:8080")
    monkeypatch.setenv("PYCALC_METRICS_PORT", "tcp://10.3.2.2:9100")  # set for a Service named pycalc-metrics
    assert (Settings().port, Settings().metrics_port) == (8080, None)
    Path(".env").write_text("PYCALC_PORT=8099\n")
    assert Settings().port == 8099


@pytest.mark.parametrize("name", ["database_url", "cache_url", "stream_url"])
def test_only_ports_are_ignored_for_kubernetes(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A URL of a backend is never ignored for its scheme: the default in its place would lose data on a restart."""
    monkeypatch.setenv(f"PYCALC_{name.upper()}", "tcp://10.3.2.1:6379")
    assert getattr(Settings(), name) == "tcp://10.3.2.1:6379"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PYCALC_ROLE_QUOTAS", "{admin", 'write a JSON object, such as {"admin": {"compute": "0"}}'),
        ("PYCALC_OIDC_ROLE_CLAIM", "admins", "write CLAIM=VALUE, such as groups=pycalc-admins"),
    ],
)
def test_a_malformed_value_is_refused_with_an_example(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    """A value of the wrong form is refused with a sentence of ours that shows the right form."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="bad settings") as refused:
        read_settings()
    assert str(refused.value) == f"bad settings: {name}: {sentence}"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("PYCALC_SECRET_KEY", "PYCALC_SECRET_KEY is not a setting; did you mean PYCALC_SECRET_KEYS?"),
        (
            "PYCALC_ADMIN_REGISTRAION",
            "PYCALC_ADMIN_REGISTRAION is not a setting; did you mean PYCALC_ADMIN_REGISTRATION?",
        ),
        ("PYCALC_QQQ", "PYCALC_QQQ is not a setting"),
    ],
)
def test_a_misspelt_variable_is_a_warning(monkeypatch: pytest.MonkeyPatch, name: str, sentence: str) -> None:
    """A misspelt variable, in the environment or ``.env``, causes a warning with the most similar setting, if any."""
    assert unknown_settings() == []
    monkeypatch.setenv(name, "closed")
    assert unknown_settings() == [sentence]
    monkeypatch.delenv(name)
    Path(".env").write_text(f"{name}=closed\n")
    assert unknown_settings() == [sentence]


def test_the_command_prints_the_warnings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt variable causes a warning on standard error, and the command continues."""
    from pycalc.cli.main import main

    monkeypatch.setenv("PYCALC_DATABASE_ULR", "postgresql://127.0.0.1/pycalc")
    assert main(["migrate"]) == 0
    warning = "pycalc: warning: PYCALC_DATABASE_ULR is not a setting; did you mean PYCALC_DATABASE_URL?\n"
    assert capsys.readouterr().err == warning


@pytest.mark.parametrize("service", ["PYCALC", "PYCALC_REDIS", "PYCALC_SERVICE"])
@pytest.mark.parametrize("port", ["tcp://10.3.2.1:8080", None])
def test_what_kubernetes_sets_is_no_misspelt_variable(
    monkeypatch: pytest.MonkeyPatch, service: str, port: str | None
) -> None:
    """Variables that Kubernetes sets for Services named pycalc* cause no warning, with or without ``..._PORT``."""
    links = {
        f"{service}_SERVICE_HOST": "10.3.2.1",
        f"{service}_SERVICE_PORT": "8080",
        f"{service}_SERVICE_PORT_HTTP": "8080",
        f"{service}_PORT_8080_TCP": "tcp://10.3.2.1:8080",
        f"{service}_PORT_8080_TCP_PROTO": "tcp",
        f"{service}_PORT_8080_TCP_PORT": "8080",
        f"{service}_PORT_8080_TCP_ADDR": "10.3.2.1",
    }
    for name, value in links.items():
        monkeypatch.setenv(name, value)
    if port:
        monkeypatch.setenv(f"{service}_PORT", port)
    assert unknown_settings() == []


@pytest.mark.parametrize("of_a_service", [False, True])
def test_a_misspelt_port_is_no_service_of_kubernetes(monkeypatch: pytest.MonkeyPatch, of_a_service: bool) -> None:
    """A misspelt ``..._PORT`` with a number is reported, even if Kubernetes has set variables with the same prefix."""
    monkeypatch.setenv("PYCALC_METRIC_PORT", "9100")
    if of_a_service:
        monkeypatch.setenv("PYCALC_METRIC_SERVICE_HOST", "10.3.2.1")
        monkeypatch.setenv("PYCALC_METRIC_SERVICE_PORT", "9100")
    sentence = "PYCALC_METRIC_PORT is not a setting; did you mean PYCALC_METRICS_PORT?"
    assert unknown_settings() == [sentence]


@pytest.mark.parametrize(
    ("content", "byte"),
    [
        ("PYCALC_PORT=8081\n".encode("utf-16"), "byte 0xff at position 0"),
        ("# für alle\n".encode("latin-1"), "byte 0xfc at position 3"),
    ],
)
def test_an_env_file_in_another_encoding_is_named(content: bytes, byte: str) -> None:
    """If ``.env`` is not UTF-8, the error names the file and the first wrong byte."""
    Path(".env").write_bytes(content)
    with pytest.raises(ValueError, match=rf"\.env is not UTF-8 \({byte}\); save it as UTF-8"):
        read_settings()


@pytest.mark.parametrize("variable", ["HOME", "DATA"])
def test_paths_are_expanded(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """``~`` and variables in paths are expanded, because Docker and systemd do not expand them in env files."""
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("DATA", "/home/ada")
    for form in ("~/calc", f"${variable}/calc", f"${{{variable}}}/calc"):
        monkeypatch.setenv("PYCALC_DATA_DIR", form)
        monkeypatch.setenv("PYCALC_SECRET_KEYS_FILE", form)
        monkeypatch.setenv("PYCALC_DATABASE_URL", f"sqlite:///{form}")
        settings = Settings()
        assert settings.data_dir == settings.secret_keys_file == Path("/home/ada/calc")
        assert settings.database == "sqlite:////home/ada/calc"


@pytest.mark.parametrize("name", ["PYCALC_DATA_DIR", "PYCALC_SECRET_KEYS_FILE", "PYCALC_DATABASE_URL"])
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("$UNSET_HERE/calc", "$ must begin the name of a set variable"),
        ("/srv/calc$", "$ must begin the name of a set variable"),
        ("~nobody-of-this-name/calc", "and ~ that of an existing user"),
        ("'/srv/calc'", "write it without quotation marks"),
        ('"/srv/calc"', "write it without quotation marks"),
    ],
)
def test_paths_that_can_not_be_meant_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, path: str, message: str
) -> None:
    """Unset variables, a ``$`` without a variable, unknown users and quotation marks in paths are refused."""
    monkeypatch.setenv(name, f"sqlite:///{path}" if name.endswith("URL") else path)
    with pytest.raises(ValueError, match=f"bad settings: {name}: .*{re.escape(message)}"):
        read_settings()


def test_a_password_may_hold_any_character(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PostgreSQL URL is not expanded, so that its password may contain ``$`` and ``~``."""
    url = "postgresql://pycalc:$HOME~@127.0.0.1/pycalc"
    monkeypatch.setenv("PYCALC_DATABASE_URL", url)
    assert Settings().database == url


def test_lines_of_an_env_file_are_settings() -> None:
    """``.env`` in the working folder is read; lines for other programs are ignored."""
    Path(".env").write_text("PYCALC_MAX_DIGITS=5000\nPYCALC_HOST=0.0.0.0\nPATH_OF_OTHERS=1\nPYCALC_UNKNOWN=1\n")
    settings = Settings()
    assert (settings.max_digits, settings.host) == (5000, "0.0.0.0")  # noqa: S104  # a value, not a listener


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PYCALC_PORT", "bogus"),
        ("PYCALC_PORT", "65536"),
        ("PYCALC_ENV", "staging"),
        ("PYCALC_COMPUTE_TIMEOUT", "0"),
        ("PYCALC_COMPUTE_WORKERS", "0"),
        ("PYCALC_BCRYPT_ROUNDS", "3"),
        ("PYCALC_MAX_DIGITS", "999"),
        ("PYCALC_LOGIN_LIMIT", "10"),
        ("PYCALC_LOGIN_LIMIT", "1/minute;5/hour"),
        ("PYCALC_REGISTER_LIMIT", "0/hour"),
        ("PYCALC_RATE_LIMIT", "many/minute"),
        ("PYCALC_RATE_LIMIT", "10/minute; 20/minute"),
        ("PYCALC_TRUSTED_PROXIES", "10.0.0.0/33"),
        ("PYCALC_TRUSTED_PROXIES", "10.0.0.1,proxy.internal"),
    ],
)
def test_a_value_out_of_range_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """An invalid value, or one out of range, is refused and not replaced by the default."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        Settings()


def test_limits_have_defaults_and_may_be_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logins, registrations and calculations are limited by default; an empty setting turns a limit off."""
    settings = Settings()
    assert (settings.login_limit, settings.register_limit, settings.rate_limit) == (
        "10/minute",
        "5/hour; 20/day",
        "6000/minute; 100000/day",
    )
    for name in ("PYCALC_LOGIN_LIMIT", "PYCALC_REGISTER_LIMIT", "PYCALC_RATE_LIMIT"):
        monkeypatch.setenv(name, "")
    settings = Settings()
    assert (settings.login_limit, settings.register_limit, settings.rate_limit) == ("", "", "")


def test_a_bad_limit_is_explained_at_the_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a limit is invalid, the command ends with a message that names the setting, its value and a valid form."""
    from pycalc.cli.main import main

    monkeypatch.setenv("PYCALC_LOGIN_LIMIT", "ten/minute")
    with pytest.raises(SystemExit) as ended:
        main(["serve"])
    expected = "pycalc: bad settings: PYCALC_LOGIN_LIMIT: 'ten/minute' is not a limit such as 10/minute"
    assert str(ended.value).startswith(expected)


def test_computing_and_results_have_quotas(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default a user has 300 s of computing an hour and 5 GB of results a day; an empty setting means no quota."""
    assert (Settings().compute_quota, Settings().digits_quota) == ("300s/hour", "5GB/day")
    monkeypatch.setenv("PYCALC_COMPUTE_QUOTA", "")
    monkeypatch.setenv("PYCALC_DIGITS_QUOTA", "")
    assert (Settings().compute_quota, Settings().digits_quota) == ("", "")
    monkeypatch.setenv("PYCALC_DIGITS_QUOTA", "5/day")
    with pytest.raises(ValidationError, match="'5/day' is not a quota such as 5GB/day"):
        Settings()


def test_the_history_has_a_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default 100,000 rows of each user are kept; an empty setting keeps all."""
    assert Settings().history_quota == 100_000
    monkeypatch.setenv("PYCALC_HISTORY_QUOTA", "")
    assert Settings().history_quota is None
    monkeypatch.setenv("PYCALC_HISTORY_QUOTA", "0")
    with pytest.raises(ValidationError):
        Settings()


def test_the_history_is_kept_for_ever_or_for_an_age(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default rows are kept for 90 days; an empty setting keeps all; an invalid age is refused with a message."""
    assert Settings().history_retention == "90d"
    monkeypatch.setenv("PYCALC_HISTORY_RETENTION", "")
    assert Settings().history_retention == ""
    monkeypatch.setenv("PYCALC_HISTORY_RETENTION", "365d")
    assert Settings().history_retention == "365d"
    monkeypatch.setenv("PYCALC_HISTORY_RETENTION", "365")
    with pytest.raises(ValidationError, match="'365' is not an age such as 365d, 52w or 36h"):
        Settings()


def test_proxies_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trusted proxies are a list of addresses and networks of IPv4 and IPv6."""
    assert Settings().trusted_proxies == ()
    monkeypatch.setenv("PYCALC_TRUSTED_PROXIES", "10.0.0.0/8, 2001:db8::1,")
    assert Settings().trusted_proxies == ("10.0.0.0/8", "2001:db8::1")


def test_origins_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default no origin is allowed; an origin includes its port, unless that is the scheme's default."""
    assert Settings().cors_origins == ()
    monkeypatch.setenv("PYCALC_CORS_ORIGINS", "https://app.example, http://localhost:5173,http://[::1]:8443,")
    assert Settings().cors_origins == ("https://app.example", "http://localhost:5173", "http://[::1]:8443")


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "app.example",
        "https://*.app.example",
        "https://app.example/",
        "https://app.example/page",
        "https://App.example",
        "https://app.example:443",
        "http://app.example:80",
        "https://user@app.example",
        "https://app.example\n",
        "ftp://app.example",
        "https://",
    ],
)
def test_what_no_browser_would_send_as_an_origin_is_refused(origin: str) -> None:
    """Wildcards and other values that no browser sends are refused with a message that shows a valid origin."""
    with pytest.raises(ValidationError, match=r"https://app\.example"):
        Settings(cors_origins=(origin,))


def test_a_password_in_an_origin_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message for an origin with a user and a password contains neither."""
    monkeypatch.setenv("PYCALC_CORS_ORIGINS", "https://ada:hunter2@app.example")
    with pytest.raises(ValueError, match=r"PYCALC_CORS_ORIGINS: each origin") as refusal:
        read_settings()
    assert "hunter2" not in str(refusal.value)


def test_settings_do_not_change() -> None:
    """Settings are immutable."""
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]
