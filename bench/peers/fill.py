"""`python -m bench.peers.fill N`: tables, N people with a living refresh token of each peer; prints them as JSON."""

import json
import sys
import uuid
from datetime import timedelta
from typing import Any

import django
from django.core.management import call_command
from django.utils import timezone

CLIENT = "bench"


def main() -> None:
    django.setup()
    call_command("migrate", verbosity=0)
    from django.contrib.auth.models import User  # noqa: PLC0415 - models exist after setup

    people = User.objects.bulk_create([User(username=f"person-{n}", password="!") for n in range(int(sys.argv[1]))])
    json.dump({"toolkit": _of_toolkit(people), "simplejwt": _of_simplejwt(people)}, sys.stdout)


def _of_toolkit(people: list[Any]) -> list[str]:
    from oauth2_provider.models import AccessToken, Application, RefreshToken  # noqa: PLC0415

    application = Application.objects.create(
        client_id=CLIENT, client_type="public", authorization_grant_type="authorization-code", redirect_uris="https://a"
    )
    later = timezone.now() + timedelta(hours=1)
    texts = []
    for person in people:
        made = {"user": person, "application": application}
        access = AccessToken.objects.create(token=uuid.uuid4().hex, expires=later, scope="read", **made)
        refresh = RefreshToken.objects.create(
            token=uuid.uuid4().hex, access_token=access, token_family=uuid.uuid4(), **made
        )
        texts.append(refresh.token)
    return texts


def _of_simplejwt(people: list[Any]) -> list[str]:
    from rest_framework_simplejwt.tokens import RefreshToken  # noqa: PLC0415

    return [str(RefreshToken.for_user(person)) for person in people]


if __name__ == "__main__":
    main()
