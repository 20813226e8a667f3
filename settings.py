"""Every setting, its default and its meaning. Reads the environment and secret files, only when `load` is called."""

import difflib
import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from core import key_source
from core.aws import AwsSecret
from core.key_source import AwsAddress, Source
from core.policy import Policy
from core.vault import VaultLogin, VaultSecret
from core.verdict import STAFF_ROLES

VERSION = "0.1.0"
"""Of this program; `pyproject.toml` says the same."""
PREFIX = "LEDGER_"
SECRETS = ("master_key", "admin_password", "database_url", "limits_url", "vault_token", "vault_secret_id")
"""Settings that may also be given as the path of a file, by NAME_FILE."""

DAY = 86_400
LOCAL = ("localhost", "127.0.0.1", "[::1]")
_ORIGIN = re.compile(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?/?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class SettingsError(Exception):
    """A start-up error, as one sentence that says what to do and holds no secret."""


def origin(url: str) -> str:
    """`url` as browsers write an origin (RFC 6454 §6.2). Raises ValueError where it is more, or http and not local."""
    found = _ORIGIN.fullmatch(url.strip().lower())
    if found is None:
        raise ValueError("must be a scheme and a host without a path, such as https://login.example.com")
    scheme, host, port = found.groups()
    if scheme == "http" and host not in LOCAL:
        raise ValueError("must begin with https://, because http:// is only for localhost, 127.0.0.1 and [::1]")
    return f"{scheme}://{host}" if port in (None, _DEFAULT_PORTS[scheme]) else f"{scheme}://{host}:{port}"


def host(name: str) -> str:
    """`name` as clients write it in a request. Raises ValueError where it is more than the name of a host."""
    found = name.strip().lower()
    if not re.fullmatch(r"[a-z0-9.-]+|\[[0-9a-f:.]+\]", found):
        raise ValueError("must be names of hosts without ports, such as login.example.com")
    return found


def database_url(url: str) -> str:
    """The address of a database as we use it. Raises ValueError, which holds nothing of it."""
    if re.fullmatch(r"sqlite:///[^?:]+", url):
        return url
    if url.startswith("sqlite:"):
        raise ValueError("must be sqlite:/// and the path of a file, such as sqlite:///data/ledger.db")
    named = re.fullmatch(r"(?:postgres|postgresql|postgresql\+asyncpg)://([^/?#\s]*/[^/?#\s]+(?:\?\S*)?)", url)
    if named is None:
        raise ValueError("must begin with sqlite:/// or postgresql+asyncpg:// and name a database")
    return f"postgresql+asyncpg://{named[1]}"


def _limits_url(url: SecretStr) -> SecretStr:
    if not re.fullmatch(r"(?:redis|valkey)s?://[^/?#\s]+(?:/[0-9]*)?(?:\?\S*)?", url.get_secret_value()):
        raise ValueError("must begin with redis://, rediss://, valkey:// or valkeys:// and name a host")
    return url


def _role(text: str) -> str:
    if text not in STAFF_ROLES:
        known = ", ".join(sorted(STAFF_ROLES))
        raise ValueError(f"must be roles of the dashboard ({known}), separated by commas; {text} is none")
    return text


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(text)
    except ValueError:
        raise ValueError(f"must be networks such as 10.0.0.0/8, separated by commas; {text} is not one") from None
    if network.prefixlen == 0:
        raise ValueError(f"must not hold {text}, because anybody could then forge the log's addresses")
    return network


def _inner(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError(f"must be networks such as 10.20.0.0/16, separated by commas; {text} is not one") from None


def _split(text: Any) -> Any:
    return tuple(part.strip() for part in text.split(",") if part.strip()) if isinstance(text, str) else text


def _off(text: Any) -> Any:
    return None if text == "off" else text


Port = Annotated[int, Field(ge=1, le=65535)]
Hosts = Annotated[tuple[Annotated[str, AfterValidator(host)], ...], NoDecode, BeforeValidator(_split)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(origin)], ...], NoDecode, BeforeValidator(_split)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_split)]
Inner = Annotated[IPv4Network | IPv6Network, BeforeValidator(_inner)]
Inners = Annotated[tuple[Inner, ...], NoDecode, BeforeValidator(_split)]
Paths = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_split)]
Roles = Annotated[tuple[Annotated[str, AfterValidator(_role)], ...], NoDecode, BeforeValidator(_split)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """The settings of one process, checked. Times are seconds. Made by `load`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, hide_input_in_errors=True)

    data_dir: Path = Field(
        default=Path("data"),
        description="Folder of the database, its lock and the keys that `serve` makes itself.",
    )
    checkpoint_dir: Path = Field(
        default_factory=lambda given: given["data_dir"].parent / "checkpoints",
        description="Folder of the signed checkpoints. Beside `LEDGER_DATA_DIR` and never inside it: what is restored "
        "together with the database cannot show that the database was rolled back.",
    )
    database_url: str = Field(
        default_factory=lambda given: f"sqlite:///{given['data_dir'] / 'ledger.db'}",
        description="The database: `sqlite:///PATH`, or `postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE`. A file in "
        "`LEDGER_DATA_DIR` unless set.",
        repr=False,
    )
    host: str = Field(
        default="127.0.0.1", min_length=1, description="Address that `serve` listens on; `0.0.0.0` is all."
    )
    port: Port = Field(default=8000, description="Port that `serve` listens on.")
    public_url: Annotated[str, AfterValidator(origin)] = Field(
        default_factory=lambda given: f"http://localhost:{given['port']}",
        description="Where browsers reach the service: a host of its own, with https, except on localhost.",
    )
    workers: int = Field(
        default=1, ge=1, le=64, description="Processes that serve. On SQLite only 1: one process writes."
    )
    metrics_port: Annotated[Port | None, BeforeValidator(_off)] = Field(
        default=None, description="Port of `/metrics`, on `LEDGER_HOST`; `off` is none. Keep it away from the public."
    )
    public_schema: bool = Field(
        default=False, description="Whether anybody may read the API's description at `/schema`."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important lines that are logged."
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="Networks of your own proxies, separated by commas (`10.0.0.0/8, 2001:db8::/32`). Only what comes "
        "from them may name the client's address in a header.",
    )
    allowed_origins: Origins = Field(
        default_factory=lambda given: (given["public_url"],),
        description="Origins whose pages may use the client `web` with cookies, separated by commas. Only "
        "`LEDGER_PUBLIC_URL` unless set.",
    )
    allowed_hosts: Hosts = Field(
        default=(),
        description="Names under which we may be asked, separated by commas, without ports; another one gets 421, but "
        "for `/health/`. Any name unless set: what is answered never depends on it.",
    )
    geo_databases: Paths = Field(
        default=(),
        description="`.mmdb` files, separated by commas, from which the dashboard tells country and operator of an "
        "address, and a client's policy knows another country. None is shipped and nobody is asked; bring your own.",
    )
    rate_limits: bool = Field(default=True, description="Limits on sign-in and refresh; `off` is for load tests.")
    limits_url: Annotated[SecretStr, AfterValidator(_limits_url)] | None = Field(
        default=None,
        description="Redis or Valkey in which all processes count together, such as `redis://:PASSWORD@HOST/0` "
        "(`rediss://` with TLS); needs the extra `redis`. Each process counts for itself unless set, and while it does "
        "not answer.",
    )
    master_key: SecretStr | None = Field(
        default=None,
        description="`NUMBER:64 HEX DIGITS`, several separated by commas: the first signs, all verify. A key without a "
        "number is number 1. Without one, `serve` makes one in `LEDGER_DATA_DIR` for an empty SQLite ledger.",
    )
    master_key_file: Path | None = Field(
        default=None,
        description="File that holds the master key instead. Read again like `LEDGER_MASTER_KEY_FROM`.",
    )
    master_key_from: str | None = Field(
        default=None,
        description="The secret manager that holds the master key instead: `vault://HOST:PORT/MOUNT/PATH#FIELD` (KV "
        "version 2 of HashiCorp Vault or OpenBao; needs the extra `vault`) or `aws://REGION/SECRET#FIELD` (AWS Secrets "
        "Manager; needs the extra `aws`). See [master-keys.md](master-keys.md).",
    )
    master_key_reread: int = Field(
        default=60,
        ge=5,
        le=3600,
        description="A master key in a file or a secret manager is read again so often; SIGHUP does it at once.",
    )
    vault_login: Literal["token", "approle", "kubernetes"] = Field(
        default="token", description="How this service signs in to the Vault of `LEDGER_MASTER_KEY_FROM`."
    )
    vault_token: SecretStr | None = Field(default=None, description="Token for the Vault, with the login `token`.")
    vault_role: str = Field(
        default="", description="Role id of the login `approle`, or name of the role of the login `kubernetes`."
    )
    vault_secret_id: SecretStr | None = Field(default=None, description="Secret id of the login `approle`.")
    vault_namespace: str = Field(default="", description="Namespace in the Vault, where it has any.")
    admin_password: SecretStr | None = Field(
        default=None,
        description="Password of the first user, `admin`, used at the first start only. Without one, it is made.",
    )
    second_factor_roles: Roles = Field(
        default=(),
        description="Roles of the dashboard (`viewer`, `responder`, `admin`), separated by commas, that must have a "
        "second factor: whoever has none is led to add one after signing in, and reaches nothing else before.",
    )
    banned_words: Words = Field(
        default=(),
        description="Words that no password may be made of, separated by commas: your company, your product.",
    )
    issuer: str = Field(
        default_factory=lambda given: given["public_url"],
        description="`iss` of access tokens. `LEDGER_PUBLIC_URL` unless set.",
    )
    audience: str = Field(
        default_factory=lambda given: given["public_url"],
        description="`aud` of access tokens, the only one that our own routes accept. `LEDGER_PUBLIC_URL` unless set.",
    )
    signing_algorithm: Literal["EdDSA", "ES256", "RS256", "HS256"] = Field(
        default="EdDSA", description="How access tokens are signed. With HS256 only this service can verify them."
    )
    key_rotation: int = Field(
        default=90 * DAY, ge=DAY, le=3650 * DAY, description="So long a key signs, then the next one."
    )
    access_ttl: int = Field(
        default=900,
        ge=2,
        le=3600,
        description="Life of an access token; a revocation is learned this late by who verifies offline.",
    )
    refresh_idle_ttl: int = Field(
        default=7 * DAY, ge=60, description="A family that was not refreshed for so long has ended."
    )
    refresh_absolute_ttl: int = Field(
        default=30 * DAY,
        ge=60,
        le=400 * DAY,
        description="A family ends after so long, however often it was refreshed.",
    )
    retry_leeway: float = Field(
        default=10,
        ge=0,
        allow_inf_nan=False,
        description="For so long after a rotation, the used token gives the same successor to the same device again, "
        "for the answer may have been lost; `0` is strict, `0.5` half a second. At most a tenth of "
        "`LEDGER_ACCESS_TTL`.",
    )
    webhook_networks: Inners = Field(
        default=(),
        description="Networks of your own that webhooks may be sent to, separated by commas (`10.20.0.0/16`). Only the "
        "internet unless set: private, loopback and link-local addresses are refused.",
    )
    webhook_http: bool = Field(
        default=False,
        description="Whether webhooks may be sent to `http://` addresses; for receivers of your own only.",
    )
    context_ttl: int = Field(
        default=180 * DAY, ge=DAY, description="Addresses and user agents are deleted from the audit log after so long."
    )
    max_loss: int = Field(
        default=60,
        ge=0,
        description="A ledger that is behind its last checkpoint by more does not serve before `recover`.",
    )

    @property
    def database_file(self) -> Path:
        """The file that `database_url` names."""
        return Path(self.database_url.removeprefix("sqlite:///"))

    @property
    def words_of_ours(self) -> tuple[str, ...]:
        """What passwords may not be made of: the banned words and our own host."""
        return (*self.banned_words, self.public_url.partition("://")[2])

    @property
    def policy(self) -> Policy:
        """The lifetimes that clients inherit."""
        return Policy(
            access_ttl=self.access_ttl,
            idle_ttl=self.refresh_idle_ttl,
            absolute_ttl=self.refresh_absolute_ttl,
            leeway=self.retry_leeway,
        )

    @property
    def master_key_text(self) -> str | None:
        """The master key as it was given, None where the file in `data_dir` holds it."""
        return self.master_key.get_secret_value() if self.master_key else None

    @property
    def master_key_source(self) -> Source | None:
        """Where the master key is kept, None where it is the file in `data_dir`. Opens nothing."""
        if self.master_key_from is not None:
            named = key_source.address(self.master_key_from)
            return AwsSecret(named) if isinstance(named, AwsAddress) else VaultSecret(named, self._vault_login)
        if self.master_key_file is not None:
            return key_source.File(self.master_key_file)
        return None if self.master_key is None else key_source.Given(self.master_key.get_secret_value())

    @property
    def _vault_login(self) -> VaultLogin:
        token, secret_id = self.vault_token, self.vault_secret_id
        return VaultLogin(
            self.vault_login,
            token.get_secret_value() if token else "",
            self.vault_role,
            secret_id.get_secret_value() if secret_id else "",
            self.vault_namespace,
        )

    @field_validator("master_key_from")
    @classmethod
    def _names_a_secret(cls, text: str | None) -> str | None:
        if text is not None:
            key_source.address(text)
        return text

    @field_validator("database_url")
    @classmethod
    def _names_a_database(cls, url: str) -> str:
        return database_url(url)

    @field_validator("issuer")
    @classmethod
    def _is_a_url(cls, text: str) -> str:
        # RFC 8414 §2: no query, no fragment.
        if not re.fullmatch(r"https?://[^\s?#]+", text):
            raise ValueError("must be a URL without ? and #, such as https://login.example.com")
        return text

    @field_validator("audience")
    @classmethod
    def _is_one_word(cls, text: str) -> str:
        if not re.fullmatch(r"\S+", text):
            raise ValueError("must be one name or URL without spaces, such as https://api.example.com")
        return text

    @model_validator(mode="after")
    def _one_writer(self) -> Self:
        if self.workers > 1 and self.database_url.startswith("sqlite:"):
            raise ValueError("Set LEDGER_WORKERS to 1, because on SQLite only one process may serve a ledger")
        return self

    @model_validator(mode="after")
    def _one_master_key(self) -> Self:
        if self.master_key_from is None:
            return self
        if self.master_key is not None or self.master_key_file is not None:
            raise ValueError("Set LEDGER_MASTER_KEY_FROM or LEDGER_MASTER_KEY, not both")
        if not self.master_key_from.startswith("vault"):
            return self
        wants = {"token": "vault_token", "approle": "vault_secret_id", "kubernetes": "vault_role"}[self.vault_login]
        if not getattr(self, wants) or (self.vault_login == "approle" and not self.vault_role):
            missing = wants if not getattr(self, wants) else "vault_role"
            raise ValueError(f"Set {PREFIX}{missing.upper()}, because LEDGER_VAULT_LOGIN is {self.vault_login}")
        return self

    @model_validator(mode="after")
    def _checkpoints_apart(self) -> Self:
        if self.checkpoint_dir.absolute().is_relative_to(self.data_dir.absolute()):
            raise ValueError(
                "Move LEDGER_CHECKPOINT_DIR out of LEDGER_DATA_DIR, because a restored copy of both would look intact"
            )
        return self

    @model_validator(mode="after")
    def _lifetimes_fit(self) -> Self:
        if self.retry_leeway * 10 > self.access_ttl:
            most = self.access_ttl / 10
            raise ValueError(f"Set LEDGER_RETRY_LEEWAY to at most {most:g}, which is a tenth of LEDGER_ACCESS_TTL")
        if self.refresh_idle_ttl < self.access_ttl:
            raise ValueError(
                "Set LEDGER_REFRESH_IDLE_TTL to at least LEDGER_ACCESS_TTL, or no token could be refreshed"
            )
        if self.refresh_absolute_ttl < self.refresh_idle_ttl:
            raise ValueError("Set LEDGER_REFRESH_ABSOLUTE_TTL to at least LEDGER_REFRESH_IDLE_TTL")
        return self


KNOWN = frozenset(
    [PREFIX + name.upper() for name in Settings.model_fields] + [f"{PREFIX}{name.upper()}_FILE" for name in SECRETS]
)
_PLAIN = {
    "int_parsing": "must be a whole number",
    "float_parsing": "must be a number",
    "bool_parsing": "must be on or off",
}


def load() -> Settings:
    """The settings in the environment. Raises SettingsError for the first thing that is wrong."""
    for name, value in sorted(os.environ.items()):
        if name.upper().startswith(PREFIX):
            _check_name(name, value)
    secrets = {field: text for field in SECRETS if (text := _from_file(PREFIX + field.upper())) is not None}
    try:
        return Settings.model_validate(secrets)
    except ValidationError as error:
        # Without its cause: only the sentence is known to hold no value of a secret.
        raise SettingsError(_sentence(error)) from None


def _check_name(name: str, value: str) -> None:
    if name in KNOWN:
        if not value.strip():
            raise SettingsError(f"{name} is empty: give it a value or remove it.")
        return
    known = {one.removeprefix(PREFIX): one for one in KNOWN}
    close = difflib.get_close_matches(name.upper().removeprefix(PREFIX), known, n=1)
    hint = f"did you mean {known[close[0]]}?" if close else "remove it, or see docs/configuration.md."
    raise SettingsError(f"{name} is not a setting: {hint}")


def _from_file(name: str) -> str | None:
    path = os.environ.get(f"{name}_FILE")
    if path is None:
        return None
    if name in os.environ:
        raise SettingsError(f"Set {name} or {name}_FILE, not both.")
    try:
        text = Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"{name}_FILE must be a text file that this user can read, and {path} is not.") from None
    if not text:
        raise SettingsError(f"{name}_FILE names an empty file: write the secret into {path}.")
    return text


def _sentence(error: ValidationError) -> str:
    """The first error. Ours are sentences, or the rest of one that begins with the name of the setting."""
    first = error.errors(include_url=False, include_input=False)[0]
    reason = _PLAIN.get(first["type"], first["msg"].replace("Input should be", "must be"))
    if first["type"] == "value_error":
        reason = str(first["ctx"]["error"])
    return f"{PREFIX}{str(first['loc'][0]).upper()} {reason}." if first["loc"] else f"{reason}."
