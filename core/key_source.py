"""Where the text of the master keys is kept: given once, in a file, or in a secret manager. Shows it to nobody.

Each source is read at the start and, where it may change, again and again. What cannot be read is one sentence, which
names the place and never what is kept there.
"""

import re
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from core.start import StartError

VAULT_PORT: Final = 8200
FIELD: Final = "master_key"
"""Of a secret in a Vault, unless another one is named."""
_LOCAL: Final = r"localhost|127\.0\.0\.1|\[::1\]"
_VAULT: Final = re.compile(
    r"vault(\+http)?://([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(?::([0-9]{1,5}))?"
    r"/([A-Za-z0-9._-]+)/([A-Za-z0-9._/-]+?)(?:#([A-Za-z0-9._-]+))?"
)
_AWS: Final = re.compile(r"aws://([a-z0-9-]+)/([A-Za-z0-9/_+=.@:-]+)(?:#([A-Za-z0-9._-]+))?")


class Source(Protocol):
    """One place of the master keys."""

    @property
    def place(self) -> str:
        """For people; holds no secret."""

    @property
    def lasting(self) -> bool:
        """Whether what it says cannot change while the process runs."""

    def read(self) -> str:
        """The text as `MasterKeys.parse` takes it. Blocks. Raises StartError."""


class Given(NamedTuple):
    """The text itself, from the environment."""

    text: str
    place: str = "LEDGER_MASTER_KEY"
    lasting: bool = True

    def read(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Given(place={self.place!r})"


class File(NamedTuple):
    """A file, as the platform puts secrets beside a process, and replaces them."""

    path: Path
    lasting: bool = False

    @property
    def place(self) -> str:
        return f"the file {self.path}"

    def read(self) -> str:
        try:
            text = self.path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise StartError(f"The file of the master key cannot be read: {self.path}.") from None
        if not text:
            raise StartError(f"The file of the master key is empty: {self.path}.")
        return text


class VaultAddress(NamedTuple):
    """A secret of the KV engine, version 2."""

    url: str
    mount: str
    path: str
    field: str


class AwsAddress(NamedTuple):
    """A secret of AWS Secrets Manager, by name or ARN; with a field where it is JSON."""

    region: str
    secret: str
    field: str


def address(text: str) -> VaultAddress | AwsAddress:
    """What LEDGER_MASTER_KEY_FROM names. Raises ValueError with the rest of a sentence, which holds nothing of it."""
    vault = _VAULT.fullmatch(text)
    if vault is not None:
        plain, host, port, mount, path, field = vault.groups()
        if plain and not re.fullmatch(_LOCAL, host):
            raise ValueError("must begin with vault://, because vault+http:// is only for localhost and 127.0.0.1")
        url = f"{'http' if plain else 'https'}://{host}:{port or VAULT_PORT}"
        return VaultAddress(url, mount, path.strip("/"), field or FIELD)
    aws = _AWS.fullmatch(text)
    if aws is not None:
        return AwsAddress(aws[1], aws[2], aws[3] or "")
    raise ValueError("must be vault://HOST:PORT/MOUNT/PATH#FIELD or aws://REGION/SECRET#FIELD")
