"""Dashboard access: who has a role, where they are signed in, and changing roles. Admins, with a fresh password."""

from typing import Any, NamedTuple

from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from core.policy import DASHBOARD
from core.subjects import BadRoles
from dashboard import answers, asked, telling, way
from dashboard.danger import is_fresh
from dashboard.door import ADMIN, REACH, VIEWER, Given, GivenStaff
from dashboard.gate import wants
from events import ids, subject
from events.family import Family
from events.subject import Subject

PLACE = "/dashboard/access"


class Member(NamedTuple):
    """Somebody with a role, and where they are signed in to the dashboard."""

    subject: Subject
    public_id: str
    sessions: list[Family]

    @property
    def factors(self) -> str:
        """What there is beside the password, in words."""
        return telling.factors(self.subject.second)

    @property
    def lacks(self) -> bool:
        """Whether this is an admin who signs in with a password alone."""
        return lacks_factor(self.subject)


def lacks_factor(owner: Subject) -> bool:
    """Whether whoever learns one password can do everything here."""
    return owner.enabled and ADMIN in owner.role_set and not owner.second.held


@get("/access", opt=wants(VIEWER))
async def access(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """Everybody with a role."""
    found = await door.subject_reader.with_roles()
    members = [
        Member(
            one,
            ids.to_text(subject.PREFIX, one.id),
            [f for f in await door.family_reader.of_subject(one.id) if f.living and f.client == DASHBOARD],
        )
        for one in found
    ]
    if answers.wants_json(request):
        return answers.json(
            {
                "staff": [
                    {"subject": one.public_id, "name": one.subject.name, "roles": one.subject.roles.split()}
                    | {"status": one.subject.status, "sessions": [ids.to_text("fam", f.id) for f in one.sessions]}
                    | {"second_factors": [held.kind for held in one.subject.second.held]}
                    for one in members
                ]
            }
        )
    done = {"roles": "The roles are changed; they count from now on.", "same": "Nothing changed."}
    notice = done.get(request.query_params.get("done", ""), "")
    page = door.pages.render(
        "access.html",
        staff=staff,
        members=members,
        roles=tuple(REACH),
        may=staff.may(ADMIN),
        lacking=[one for one in members if one.lacks],
        required=", ".join(sorted(door.enrolling.required)),
        notice=notice,
        now=door.now(),
    )
    return answers.html(page)


@post("/access/{public_id:str}", opt=wants(ADMIN), status_code=303)
async def change(
    request: Request[Any, Any, Any], door: Given, staff: GivenStaff, public_id: FromPath[str]
) -> Response[Any]:
    """Replace somebody's roles. Nobody changes the own ones: the last admin would lock everybody out."""
    if not is_fresh(staff, door.now()):
        return answers.see_other(way.to_prove(PLACE))
    stream = ids.from_text(subject.PREFIX, public_id)
    owner = await door.subject_reader.get(stream) if stream else None
    if owner is None or owner.id == staff.subject.id:
        raise NotFoundException
    wanted = " ".join(asked.texts(await request.form(), "role"))
    try:
        outcome = await door.subjects.change_roles(owner, wanted, f"staff:{staff.subject_id}")
    except BadRoles:
        raise NotFoundException from None
    return answers.see_other(f"{PLACE}?done={'roles' if outcome == 'done' else 'same'}")
