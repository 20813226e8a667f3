"""The README's story through the whole service: sign in, refresh twice, replay, everything is dead."""

import httpx

from tests.visitors import refresh, sign_in


async def test_a_replayed_token_ends_the_family_and_everything_of_it(http: httpx.AsyncClient) -> None:
    first = await sign_in(http)
    second = (await refresh(http, first["refresh_token"])).json()
    third = (await refresh(http, second["refresh_token"])).json()

    replayed = await refresh(http, first["refresh_token"])
    newest = await refresh(http, third["refresh_token"])
    me = await http.get("/auth/me", headers={"Authorization": f"Bearer {third['access_token']}"})

    assert (replayed.status_code, replayed.json()["code"]) == (401, "token_reused")
    assert (newest.status_code, newest.json()["code"]) == (401, "session_revoked")
    assert (me.status_code, me.json()["code"]) == (401, "invalid_token")


async def test_a_lost_answer_is_given_again(http: httpx.AsyncClient) -> None:
    first = await sign_in(http)

    once = (await refresh(http, first["refresh_token"])).json()
    again = (await refresh(http, first["refresh_token"])).json()

    assert once["refresh_token"] == again["refresh_token"]
    assert once["access_token"] != again["access_token"]
