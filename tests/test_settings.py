"""Settings: defaults, secrets from files, and one helpful sentence for each thing that can be wrong."""

import os
from ipaddress import ip_network
from pathlib import Path

import pytest

from settings import SECRETS, Settings, SettingsError, load

SECRET = "7:" + "5ec4e7" * 10 + "abcd"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("LEDGER_"):
            monkeypatch.delenv(name)


def given(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"LEDGER_{name}", value)


def refusal(monkeypatch: pytest.MonkeyPatch, **values: str) -> str:
    given(monkeypatch, **values)
    with pytest.raises(SettingsError) as refused:
        load()
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert refused.value.__cause__ is None
    return sentence


def test_nothing_has_to_be_set() -> None:
    found = load()
    assert "sqlite:///data/ledger.db" == found.database_url
    assert Path("checkpoints") == found.checkpoint_dir
    assert (8000, 1, None) == (found.port, found.workers, found.metrics_port)
    assert (900, 604_800, 2_592_000, 10) == (
        found.access_ttl,
        found.refresh_idle_ttl,
        found.refresh_absolute_ttl,
        found.retry_leeway,
    )
    assert (True, False) == (found.rate_limits, found.public_schema)


def test_public_url_follows_the_port_and_issuer_audience_and_origins_follow_public_url(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given(monkeypatch, PORT="9000")
    found = load()
    url = "http://localhost:9000"
    assert (url, url, url, (url,)) == (found.public_url, found.issuer, found.audience, found.allowed_origins)


def test_database_and_checkpoints_follow_the_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, DATA_DIR="/srv/ledger/data")
    found = load()
    assert "sqlite:////srv/ledger/data/ledger.db" == found.database_url
    assert Path("/srv/ledger/checkpoints") == found.checkpoint_dir


def test_public_url_is_written_as_a_browser_writes_an_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, PUBLIC_URL="https://Login.Example.com:443/")
    assert "https://login.example.com" == load().public_url


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    given(
        monkeypatch,
        ALLOWED_ORIGINS="https://app.example.com, https://www.example.com",
        TRUSTED_PROXIES="10.0.0.0/8,::1",
        BANNED_WORDS="acme, rocket",
    )
    found = load()
    assert ("https://app.example.com", "https://www.example.com") == found.allowed_origins
    assert (ip_network("10.0.0.0/8"), ip_network("::1/128")) == found.trusted_proxies
    assert ("acme", "rocket") == found.banned_words


@pytest.mark.parametrize(("text", "expected"), [("9100", 9100), ("off", None)])
def test_metrics_have_a_port_or_are_off(monkeypatch: pytest.MonkeyPatch, text: str, expected: int | None) -> None:
    given(monkeypatch, METRICS_PORT=text)
    assert expected == load().metrics_port


@pytest.mark.parametrize("local", ["localhost", "127.0.0.1:8000", "[::1]:8000"])
def test_http_will_do_on_this_machine(monkeypatch: pytest.MonkeyPatch, local: str) -> None:
    given(monkeypatch, PUBLIC_URL=f"http://{local}")
    assert f"http://{local}" == load().public_url


def test_a_secret_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n")
    given(monkeypatch, MASTER_KEY_FILE=str(file))
    key = load().master_key
    assert key is not None
    assert SECRET == key.get_secret_value()


def test_no_representation_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, MASTER_KEY=SECRET, ADMIN_PASSWORD=SECRET, DATABASE_URL=f"sqlite:///{SECRET[2:]}")
    found = load()
    assert [] == [text for text in (repr(found), str(found), repr(found.master_key)) if SECRET[2:] in text]


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().port = 1


def test_every_setting_is_described() -> None:
    assert [] == [name for name, field in Settings.model_fields.items() if not field.description]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "eighty", "LEDGER_PORT must be a whole number."),
        ("PORT", "70000", "LEDGER_PORT must be less than or equal to 65535."),
        ("WORKERS", "2", "Set LEDGER_WORKERS to 1, because on SQLite only one process may serve a ledger."),
        ("RATE_LIMITS", "maybe", "LEDGER_RATE_LIMITS must be on or off."),
        ("LOG_LEVEL", "loud", "LEDGER_LOG_LEVEL must be 'debug', 'info', 'warning' or 'error'."),
        ("SIGNING_ALGORITHM", "none", "LEDGER_SIGNING_ALGORITHM must be 'EdDSA', 'ES256', 'RS256' or 'HS256'."),
        ("ACCESS_TTL", "1", "LEDGER_ACCESS_TTL must be greater than or equal to 2."),
        ("ACCESS_TTL", "86400", "LEDGER_ACCESS_TTL must be less than or equal to 3600."),
        ("RETRY_LEEWAY", "91", "Set LEDGER_RETRY_LEEWAY to at most 90, which is a tenth of LEDGER_ACCESS_TTL."),
        ("RETRY_LEEWAY", "90.5", "Set LEDGER_RETRY_LEEWAY to at most 90, which is a tenth of LEDGER_ACCESS_TTL."),
        ("RETRY_LEEWAY", "long", "LEDGER_RETRY_LEEWAY must be a number."),
        ("RETRY_LEEWAY", "nan", "LEDGER_RETRY_LEEWAY must be a finite number."),
        ("RETRY_LEEWAY", "-1", "LEDGER_RETRY_LEEWAY must be greater than or equal to 0."),
        (
            "REFRESH_IDLE_TTL",
            "600",
            "Set LEDGER_REFRESH_IDLE_TTL to at least LEDGER_ACCESS_TTL, or no token could be refreshed.",
        ),
        ("REFRESH_ABSOLUTE_TTL", "3600", "Set LEDGER_REFRESH_ABSOLUTE_TTL to at least LEDGER_REFRESH_IDLE_TTL."),
        (
            "CHECKPOINT_DIR",
            "data/checkpoints",
            "Move LEDGER_CHECKPOINT_DIR out of LEDGER_DATA_DIR, because a restored copy of both would look intact.",
        ),
        (
            "PUBLIC_URL",
            "http://login.example.com",
            "LEDGER_PUBLIC_URL must begin with https://, because http:// is only for localhost, 127.0.0.1 and [::1].",
        ),
        (
            "PUBLIC_URL",
            "https://example.com/login",
            "LEDGER_PUBLIC_URL must be a scheme and a host without a path, such as https://login.example.com.",
        ),
        (
            "ALLOWED_ORIGINS",
            "https://app.example.com, *",
            "LEDGER_ALLOWED_ORIGINS must be a scheme and a host without a path, such as https://login.example.com.",
        ),
        (
            "ALLOWED_HOSTS",
            "login.example.com, login.example.com:8443",
            "LEDGER_ALLOWED_HOSTS must be names of hosts without ports, such as login.example.com.",
        ),
        (
            "TRUSTED_PROXIES",
            "10.0.0.1/8",
            "LEDGER_TRUSTED_PROXIES must be networks such as 10.0.0.0/8, separated by commas; 10.0.0.1/8 is not one.",
        ),
        (
            "TRUSTED_PROXIES",
            "0.0.0.0/0",
            "LEDGER_TRUSTED_PROXIES must not hold 0.0.0.0/0, because anybody could then forge the log's addresses.",
        ),
        (
            "ISSUER",
            "my issuer",
            "LEDGER_ISSUER must be a URL without ? and #, such as https://login.example.com.",
        ),
        (
            "AUDIENCE",
            "my api",
            "LEDGER_AUDIENCE must be one name or URL without spaces, such as https://api.example.com.",
        ),
        ("HOST", "", "LEDGER_HOST is empty: give it a value or remove it."),
        ("PROT", "80", "LEDGER_PROT is not a setting: did you mean LEDGER_PORT?"),
        ("MASTERKEY", SECRET, "LEDGER_MASTERKEY is not a setting: did you mean LEDGER_MASTER_KEY?"),
        ("port", "80", "LEDGER_port is not a setting: did you mean LEDGER_PORT?"),
        ("ZEBRA", "1", "LEDGER_ZEBRA is not a setting: remove it, or see docs/configuration.md."),
    ],
)
def test_a_wrong_setting_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    assert sentence == refusal(monkeypatch, **{name: value})


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///data/ledger.db?mode=ro"])
def test_a_database_in_sqlite_that_is_no_file_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    expected = "LEDGER_DATABASE_URL must be sqlite:/// and the path of a file, such as sqlite:///data/ledger.db."
    assert expected == refusal(monkeypatch, DATABASE_URL=url)


@pytest.mark.parametrize("url", [f"mysql://root:{SECRET}@db/ledger", f"postgresql://root:{SECRET}@db"])
def test_a_database_of_no_engine_of_ours_is_refused_without_its_password(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    expected = "LEDGER_DATABASE_URL must begin with sqlite:/// or postgresql+asyncpg:// and name a database."
    assert expected == refusal(monkeypatch, DATABASE_URL=url)


@pytest.mark.parametrize(
    "url", ["memcached://:hidden@host", "redis://", "redis:///0", "host:6379", "redis://:hidden@host/name"]
)
def test_what_is_no_redis_and_no_valkey_is_refused_without_its_password(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    expected = "LEDGER_LIMITS_URL must begin with redis://, rediss://, valkey:// or valkeys:// and name a host."
    assert expected == refusal(monkeypatch, LIMITS_URL=url)


def test_what_follows_a_wrong_setting_is_not_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "LEDGER_PORT must be a whole number." == refusal(monkeypatch, PORT="eighty", WORKERS="none")


def test_a_lowercase_name_is_not_read_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ledger_port", "9000")
    with pytest.raises(SettingsError, match=r"ledger_port is not a setting: did you mean LEDGER_PORT\?"):
        load()


@pytest.mark.parametrize("field", SECRETS)
def test_a_secret_is_given_once(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    name = field.upper()
    sentence = refusal(monkeypatch, **{name: SECRET, f"{name}_FILE": "key"})
    assert f"Set LEDGER_{name} or LEDGER_{name}_FILE, not both." == sentence


def test_a_secret_file_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = "LEDGER_MASTER_KEY_FILE must be a text file that this user can read, and nowhere/key is not."
    assert expected == refusal(monkeypatch, MASTER_KEY_FILE="nowhere/key")


def test_a_secret_file_of_bytes_is_refused_without_its_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"\xff" + SECRET.encode())
    expected = f"LEDGER_MASTER_KEY_FILE must be a text file that this user can read, and {file} is not."
    assert expected == refusal(monkeypatch, MASTER_KEY_FILE=str(file))


def test_an_empty_secret_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("\n")
    expected = f"LEDGER_MASTER_KEY_FILE names an empty file: write the secret into {file}."
    assert expected == refusal(monkeypatch, MASTER_KEY_FILE=str(file))
