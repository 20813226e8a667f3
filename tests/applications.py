"""Applications in the tests of OAuth: registered, with their proof, their own tokens, and families of their users."""

from typing import Any, NamedTuple

import httpx

import app
from core.issued import Issued
from core.presence import Presence
from core.visit import SignIn, Visit
from events.client import CONFIDENTIAL, ClientRegistered
from tests.visitors import ALICE, register


class Application(NamedTuple):
    """A client and its secret, empty for a public one."""

    name: str
    secret: str = ""

    @property
    def basic(self) -> httpx.BasicAuth:
        return httpx.BasicAuth(self.name, self.secret)

    @property
    def posted(self) -> dict[str, str]:
        return {"client_id": self.name} | ({"client_secret": self.secret} if self.secret else {})


async def application(service: app.Service, name: str = "backend", **policy: Any) -> Application:
    """A confidential client, unless `type` says otherwise."""
    fact = ClientRegistered(actor="cli", client=name, **({"type": CONFIDENTIAL} | policy))
    return Application(name, (await service.clients.register(fact)).secret)


async def issued_to(service: app.Service, client: str, user: str = "alice", password: str = ALICE) -> Issued:
    """Tokens of a new family of this client, carried in the body; the user is registered where needed."""
    if await service.subjects.find(user) is None:
        await register(service, user, password)
    visit = Visit(Presence("203.0.113.7", "test"), "AAAAAAAAAAAAAAAA", 0.0)
    found = await service.families.sign_in(SignIn(user, password, client, "body"), visit)
    assert isinstance(found, Issued), found
    return found


async def own_token(http: httpx.AsyncClient, of: Application, **asked: str) -> str:
    """An access token that the client holds for itself."""
    answer = await http.post("/oauth/token", data={"grant_type": "client_credentials"} | asked, auth=of.basic)
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["access_token"]
    return found


async def renewed(http: httpx.AsyncClient, of: Application, token: str, **asked: str) -> httpx.Response:
    """A refresh at the token endpoint, proved in the header where there is a secret."""
    form = {"grant_type": "refresh_token", "refresh_token": token} | asked
    if of.secret:
        return await http.post("/oauth/token", data=form, auth=of.basic)
    return await http.post("/oauth/token", data=form | of.posted)


def oauth_error(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal in the one shape of RFC 6749 §5.2."""
    said = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert {"error", "error_description", "request_id"} == set(said)
    assert answer.headers["cache-control"] == "no-store"
    assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)
    for text in (said["error"], said["error_description"]):
        assert all(0x20 <= ord(character) <= 0x7E and character not in '"\\' for character in text)
    return answer.status_code, said["error"]
