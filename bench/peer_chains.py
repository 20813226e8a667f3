"""The load for the peers: each connection rotates a refresh token of its own, in the peer's way, and checks it."""

from typing import ClassVar

from bench.client import Connection, WrongAnswer, head


class PeerChain(Connection):
    """One chain; `TYPE` is what the peer wants to be sent, `FIELD` is where it answers the next refresh token."""

    PATH: ClassVar[str]
    TYPE: ClassVar[str]
    FIELD: ClassVar[bytes]
    ACCESS: ClassVar[bytes]
    BEFORE: ClassVar[bytes]
    AFTER: ClassVar[bytes]

    def __init__(self, token: bytes) -> None:
        super().__init__()
        self.token = token
        self._access = b""

    def request(self) -> bytes:
        body = self.BEFORE + self.token + self.AFTER
        return head(self.PATH, len(body), self.TYPE) + body

    def answered(self, answer: bytes) -> None:
        """200, another refresh token and another access token."""
        token, access = _text(answer, self.FIELD), _text(answer, self.ACCESS)
        if not answer.startswith(b"HTTP/1.1 200 ") or token in {b"", self.token} or access in {b"", self._access}:
            raise WrongAnswer(answer[:1000].decode("latin-1"))
        self.token, self._access = token, access


class ToolkitChain(PeerChain):
    """Of django-oauth-toolkit."""

    PATH = "/oauth/"
    TYPE = "application/x-www-form-urlencoded"
    FIELD, ACCESS = b'"refresh_token": "', b'"access_token": "'
    BEFORE, AFTER = b"grant_type=refresh_token&client_id=bench&refresh_token=", b""


class SimpleJwtChain(PeerChain):
    """Of djangorestframework-simplejwt."""

    PATH = "/jwt/"
    TYPE = "application/json"
    FIELD, ACCESS = b'"refresh":"', b'"access":"'
    BEFORE, AFTER = b'{"refresh":"', b'"}'


def _text(answer: bytes, field: bytes) -> bytes:
    place = answer.find(field)
    if place < 0:
        return b""
    place += len(field)
    return answer[place : answer.find(b'"', place)]
