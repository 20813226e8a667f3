"""What an access token says, typed. Verifies nothing."""

from dataclasses import dataclass

from session_ledger_client.errors import InsufficientScope


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Of a token that was verified. Times are seconds since the epoch."""

    subject: str
    """Whose it is: `sub_…`, or the client's own name where the client holds it for itself."""
    client_id: str
    session_id: str | None
    """The family, `fam_…` (`sid`); None where a client holds the token for itself. Write it into your logs."""
    token_id: str
    """`jti`. Write it into your logs."""
    issuer: str
    audience: str
    issued_at: int
    expires_at: int
    auth_time: int | None
    """When the user signed in."""
    scopes: frozenset[str]
    roles: tuple[str, ...]
    key_id: str
    key_thumbprint: str | None = None
    """Of the key that the token is bound to, which its bearer has proved to hold (RFC 9449); None where it is none."""

    def require(self, scope: str) -> None:
        """Raises InsufficientScope unless the token has all of these scopes, separated by spaces."""
        if not self.scopes.issuperset(scope.split()):
            raise InsufficientScope(scope)
