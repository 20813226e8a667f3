"""The master keys in AWS Secrets Manager. Who we are there is found as every AWS client finds it."""

import json
from dataclasses import dataclass
from typing import Any, Final

from core.key_source import AwsAddress
from core.start import StartError

SECONDS: Final = 5
"""For a connection, and for one answer."""
_REFUSED: Final = frozenset(
    {
        "AccessDeniedException",
        "AccessDenied",
        "DecryptionFailure",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "UnrecognizedClientException",
    }
)
_MISSING: Final = frozenset({"ResourceNotFoundException", "InvalidRequestException", "ValidationException"})
"""There is none, or it is marked for deletion, or nothing can have this name."""


@dataclass(frozen=True, slots=True)
class AwsSecret:
    """One secret, or one field of it where it is JSON."""

    address: AwsAddress
    lasting: bool = False

    @property
    def place(self) -> str:
        """For people."""
        field = f"the field {self.address.field} of " if self.address.field else ""
        return f"{field}the secret {self.address.secret} in {self.address.region}"

    def read(self) -> str:
        """The current version. Blocks for a few seconds at most. Raises StartError."""
        text = self._asked().get("SecretString", "")
        if self.address.field:
            text = _field(text, self.address.field)
        if not isinstance(text, str) or not text.strip():
            raise StartError(f"There is no text in {self.place}: write the master key there, or name another #FIELD.")
        return text.strip()

    def _asked(self) -> Any:
        """The answer; else a sentence without anything of it."""
        try:
            import boto3.session  # noqa: PLC0415 - an optional dependency
            from botocore import exceptions  # noqa: PLC0415
            from botocore.config import Config  # noqa: PLC0415
        except ModuleNotFoundError:
            raise StartError(
                "LEDGER_MASTER_KEY_FROM=aws://… needs a package more: pip install 'session-ledger[aws]'."
            ) from None
        once: Any = {"total_max_attempts": 2, "mode": "standard"}
        config = Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries=once)
        try:
            session = boto3.session.Session(region_name=self.address.region)
            client = session.client("secretsmanager", config=config)
            try:
                return client.get_secret_value(SecretId=self.address.secret)
            finally:
                client.close()
        except exceptions.ClientError as error:
            why = self._why(error.response)
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.CredentialRetrievalError):
            why = "AWS knows no credentials of this process: give it a role, or AWS_ACCESS_KEY_ID and its secret."
        except (exceptions.BotoCoreError, OSError, ValueError):
            why = f"AWS Secrets Manager in {self.address.region} does not answer: check the region and the network."
        raise StartError(why)

    def _why(self, answer: Any) -> str:
        code = answer.get("Error", {}).get("Code", "")
        if code in _REFUSED or answer.get("ResponseMetadata", {}).get("HTTPStatusCode") in {401, 403}:
            return f"AWS does not let this service read {self.place}: check its role and policy."
        if code in _MISSING:
            return f"There is no secret {self.address.secret} in {self.address.region}: check the name and the region."
        return f"AWS Secrets Manager in {self.address.region} does not answer: check the region and the network."


def _field(text: str, name: str) -> Any:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found.get(name) if isinstance(found, dict) else None
