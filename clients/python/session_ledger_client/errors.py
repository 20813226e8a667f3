"""What can be wrong, one class for each decision that a caller can take."""


class SessionLedgerError(Exception):
    """The token was not accepted."""


class InvalidToken(SessionLedgerError):
    """401: missing, malformed, expired, revoked, or not meant for here. Tell the client only that it is not valid."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        """A code for logs: `malformed`, `header`, `key`, `signature`, `claims`, `issuer`, `audience`, `expired`,
        `not_yet`, `lifetime`, `revoked`, `missing`; of tokens that are bound to a key, `binding` and `proof`."""


class InsufficientScope(SessionLedgerError):
    """403: the token is good, but not for this."""

    def __init__(self, needed: str) -> None:
        super().__init__(f"needs {needed}")
        self.needed = needed


class Unavailable(SessionLedgerError):
    """503: nothing can be said now, because keys or revocations are not known. The token may well be good."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        """`keys` or `revocations`."""
