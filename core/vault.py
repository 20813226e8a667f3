"""The master keys in HashiCorp Vault or OpenBao, KV version 2. Knows how to sign in there and what can go wrong."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.key_source import VaultAddress
from core.start import StartError

if TYPE_CHECKING:
    import hvac

SECONDS: Final = 5
"""For one answer."""
TOKEN_OF_POD: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")  # a file's name


@dataclass(frozen=True, slots=True)
class VaultLogin:
    """Who we are there."""

    how: str = "token"
    """`token`, `approle` or `kubernetes`."""
    token: str = ""
    role: str = ""
    """The role id of `approle`, the name of the role of `kubernetes`."""
    secret_id: str = ""
    namespace: str = ""
    pod: Path = TOKEN_OF_POD

    def __repr__(self) -> str:
        return f"VaultLogin(how={self.how!r})"


@dataclass(frozen=True, slots=True)
class VaultSecret:
    """One field of one secret."""

    address: VaultAddress
    login: VaultLogin
    lasting: bool = False

    @property
    def place(self) -> str:
        """For people."""
        return f"the field {self.address.field} of {self.address.mount}/{self.address.path} at {self.address.url}"

    def read(self) -> str:
        """The newest version. Blocks for a few seconds at most. Raises StartError."""
        with self._signed_in() as client:
            read = client.secrets.kv.v2.read_secret_version
            mount, path = self.address.mount, self.address.path
            data = self._asked(lambda: read(path, mount_point=mount, raise_on_deleted_version=True))["data"]["data"]
        text = data.get(self.address.field)
        if not isinstance(text, str) or not text.strip():
            raise StartError(f"There is no text in {self.place}: write the master key there, or name another #FIELD.")
        return text.strip()

    @contextmanager
    def _signed_in(self) -> Iterator["hvac.Client"]:
        """A client with a token; one that was made for this look is given back."""
        hvac = _library()
        namespace = self.login.namespace or None
        client: Any = hvac.Client(self.address.url, timeout=SECONDS, namespace=namespace, allow_redirects=False)
        client.token = self.login.token or None
        try:
            if self.login.how == "token":
                self._extended(client)
                yield client
                return
            self._asked(lambda: self._log_in(client), signing_in=True)
            yield client
            with suppress(Exception):  # one that cannot be given back runs out by itself
                client.auth.token.revoke_self()
        finally:
            client.adapter.close()

    def _extended(self, client: Any) -> None:
        """A token with a period lives as long as it is renewed in time; others cannot be, and need not."""
        with suppress(Exception):  # what matters is whether it may read
            client.auth.token.renew_self()

    def _log_in(self, client: Any) -> None:
        login = self.login
        if login.how == "approle":
            client.auth.approle.login(role_id=login.role, secret_id=login.secret_id)
            return
        try:
            proof = login.pod.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise StartError(f"LEDGER_VAULT_LOGIN is kubernetes, but {login.pod} cannot be read.") from None
        client.auth.kubernetes.login(role=login.role, jwt=proof)

    def _asked(self, ask: Any, *, signing_in: bool = False) -> Any:
        """What a call answers; else a sentence without what it was asked with or what the answer held."""
        hvac, url = _library(), self.address.url
        from requests import exceptions  # noqa: PLC0415 - comes with hvac

        try:
            return ask()
        except (hvac.exceptions.Forbidden, hvac.exceptions.Unauthorized, hvac.exceptions.InvalidRequest):
            if signing_in:
                why = f"The Vault at {url} does not admit this service by {self.login.how}: check LEDGER_VAULT_ROLE."
            else:
                why = f"The Vault at {url} does not let this service read {self.place}: check its token and policy."
        except hvac.exceptions.InvalidPath:
            why = f"The Vault at {url} has no secret {self.address.mount}/{self.address.path}: check the name."
        except hvac.exceptions.VaultDown:
            why = f"The Vault at {url} is sealed or not ready: unseal it."
        except exceptions.SSLError:
            why = f"The certificate of the Vault at {url} is not trusted: name its authority in VAULT_CACERT."
        except (hvac.exceptions.VaultError, exceptions.RequestException, OSError):
            why = f"The Vault at {url} does not answer: check LEDGER_MASTER_KEY_FROM and the network."
        except (KeyError, TypeError, ValueError):
            why = f"What answers at {url} is no Vault: check LEDGER_MASTER_KEY_FROM."
        raise StartError(why)


def _library() -> Any:
    try:
        import hvac  # noqa: PLC0415 - an optional dependency
        import hvac.exceptions  # noqa: PLC0415
    except ModuleNotFoundError:
        raise StartError(
            "LEDGER_MASTER_KEY_FROM=vault://… needs a package more: pip install 'session-ledger[vault]'."
        ) from None
    return hvac
