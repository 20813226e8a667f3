"""How events read at the dashboard: sentences, stories, reasons that people give, and ways back that stay ours."""

import msgspec
import pytest

from core.reason import STAFF_REASONS, cleaned_note
from dashboard import forms, story, telling, way
from dashboard.rows import Row
from dashboard.sentences import Told, tell
from events import family
from events.catalogue import FACTS
from events.fact import Fact
from events.history import Event
from events.private import Account, Context

SUBJECT = "sub_" + "a" * 26
SECOND, MINUTE = 1_000_000, 60_000_000
HOME_NET, TRAIN = Context("203.0.113.7", "curl/8"), Context("192.0.2.8", "curl/8")


def any_of(kind: type[Fact]) -> Fact:
    """A fact of this kind with plausible values."""
    values = {field.name: 1 if field.type is int else "x" for field in msgspec.structs.fields(kind) if field.required}
    return msgspec.convert(values, kind)


def rotated(generation: int) -> Fact:
    return family.TokenRotated(
        actor="subject", subject=SUBJECT, client="web", generation=generation, jti="j", exp=1, idle_until=1
    )


def told_rows(*happened: tuple[int, Fact, Context]) -> list[Row]:
    """Rows of one stream, one for each time, fact and place."""
    events = [
        Event(position, b"", position + 1, at, fact, b"{}", context, Account())
        for position, (at, fact, context) in enumerate(happened)
    ]
    return [Row(event, tell(event.fact), "alice", "fam_x", "web", "", "") for event in events]


@pytest.mark.parametrize("kind", FACTS, ids=lambda kind: kind.TYPE)
def test_every_fact_is_told_with_shape_word_and_sentence(kind: type[Fact]) -> None:
    told = tell(any_of(kind))

    assert isinstance(told, Told)
    assert 1 == len(told.shape)
    assert told.tone in {"alarm", "warn", "good", "quiet", "admin"}
    assert told.word == told.word.lower() != ""
    assert told.sentence[0].isupper()
    assert told.sentence.endswith((".", "…"))


def test_a_refused_access_token_is_not_told_as_a_generation() -> None:
    refused = family.TokenRefused(actor="subject", subject=SUBJECT, client="web", generation=0, reason="client")
    of_first = msgspec.structs.replace(refused, generation=1)

    assert "An access token was refused: another application used it." == tell(refused).sentence
    assert "Generation 1 refused: another application used it." == tell(of_first).sentence


def test_red_is_for_reuse_and_for_what_somebody_killed() -> None:
    def revoked(actor: str, reason: str) -> str:
        return tell(family.FamilyRevoked(actor=actor, subject=SUBJECT, client="web", reason=reason)).tone

    assert ("alarm", "alarm") == (revoked("policy", "reuse"), revoked("staff:" + SUBJECT, "stolen_token"))
    assert ("quiet", "quiet") == (revoked("subject", "logout"), revoked("policy", "limit"))


@pytest.mark.parametrize(
    ("microseconds", "said"),
    [
        (-5, "0.0 s"),
        (400_000, "0.4 s"),
        (SECOND, "1 s"),
        (76 * SECOND, "1 m 16 s"),
        (60 * MINUTE, "1 h"),
        (60 * MINUTE + 5 * SECOND, "1 h"),
        (26 * 60 * MINUTE, "1 d 2 h"),
        (400 * 24 * 60 * MINUTE, "400 d"),
    ],
)
def test_a_span_is_told_by_its_two_largest_units(microseconds: int, said: str) -> None:
    assert said.replace(" ", "\N{NO-BREAK SPACE}") == telling.span(microseconds)


def test_times_are_told_in_utc() -> None:
    at = 1_795_449_903_500_000

    assert "2026-11-23T16:05:03Z" == telling.iso(at)
    assert "2026-11-23 16:05:03" == telling.stamp(at)
    assert "16:05:03" == telling.clock(at)
    assert "Monday, 23 November 2026" == telling.day(at)


@pytest.mark.parametrize(
    ("before", "said"),
    [(60, "16:04:03"), (16 * 3_600, "00:05:03"), (17 * 3_600, "17 h ago"), (30 * 3_600, "1 d ago")],
)
def test_a_time_of_another_day_is_told_by_its_age(before: int, said: str) -> None:
    now = 1_795_449_903_500_000

    assert said == telling.lately(now - before * SECOND, now).replace("\N{NO-BREAK SPACE}", " ")
    assert "1 m ago" == telling.lately(1_795_392_000_000_000 - SECOND, 1_795_392_000_000_000 + 60 * SECOND).replace(
        "\N{NO-BREAK SPACE}", " "
    )


def test_a_short_id_keeps_the_end_that_tells_two_apart() -> None:
    assert "fam_…t2lzuza" == telling.short("fam_aaa2eckibf4qj3rrszct2lzuza")


ELSEWHERE = [
    "//evil.test",
    "/\\evil.test",
    "/%09/evil.test",
    "https:evil.test",
    "https://evil.test/dashboard",
    "/dashboard//evil.test",
    "/dashboard/../../evil",
    "/dashboard@evil.test",
    "/dashboard/%2f%2fevil.test",
    "/dashboard/\N{FULLWIDTH SOLIDUS}evil",
    "/dashboard/events?next=//evil.test",
    "/dashboard/events#x",
    "/dashboardevil",
    "/dashboard/sign-in",
    "/dashboard/sign-out",
    "/dashboard/static/x",
    "/auth/me",
    "javascript:alert(1)",
    "/dashboard/events\r\nSet-Cookie: x=1",
    "/dashboard/" + "a" * 400,
]
"""What a browser might take for another place, or what only looks like a page of ours."""


@pytest.mark.parametrize("goal", ELSEWHERE)
def test_a_link_that_is_not_ours_leads_to_the_first_page(goal: str) -> None:
    assert way.HOME == way.back(goal)


@pytest.mark.parametrize(
    "goal",
    [
        "/dashboard/events",
        "/dashboard/events?before=48213",
        "/dashboard/families/fam_aaa2eckibf4qj3rrszct2lzuza",
        "/dashboard/families/fam_aaa2eckibf4qj3rrszct2lzuza?notice=revoked&format=json",
    ],
)
def test_our_own_links_lead_back(goal: str) -> None:
    assert goal == way.back(goal)


def test_the_way_to_sign_in_names_the_page_only_where_it_is_not_the_first() -> None:
    assert "/dashboard/sign-in?why=needed" == way.to_sign_in("needed", "/dashboard")
    assert "/dashboard/sign-in?why=expired" == way.to_sign_in("expired", "//evil.test")
    goal = way.to_sign_in("needed", "/dashboard/events?before=5")
    assert "/dashboard/sign-in?why=needed&next=%2Fdashboard%2Fevents%3Fbefore%3D5" == goal


def test_a_note_is_kept_without_what_cannot_be_seen() -> None:
    assert "one two three" == cleaned_note(" one\r\n\ttwo \N{RIGHT-TO-LEFT OVERRIDE}three\x00 \x1b ")
    assert 500 == len(cleaned_note("x" * 600))


def test_a_good_form_has_no_flaws() -> None:
    asked = forms.revocation({"reason": "suspicious", "ticket": " INC-4711 ", "note": "seen  twice"})

    assert ("suspicious", "INC-4711", "seen twice", {}) == asked
    assert "suspicious" in STAFF_REASONS


def test_a_silence_is_told_and_a_moment_is_not() -> None:
    rows = told_rows((0, rotated(2), HOME_NET), (59 * SECOND, rotated(3), HOME_NET), (3 * MINUTE, rotated(4), HOME_NET))

    assert ["", "", "2\N{NO-BREAK SPACE}m\N{NO-BREAK SPACE}1\N{NO-BREAK SPACE}s"] == [s.gap for s in story.steps(rows)]


def test_refreshes_from_one_place_are_folded_but_for_the_last() -> None:
    rows = told_rows(*((n * MINUTE, rotated(n + 2), HOME_NET) for n in range(5)), (9 * MINUTE, rotated(7), TRAIN))
    run, last, moved = story.folded(story.steps(rows))

    assert isinstance(run, story.Run)
    assert (4, 5, [0, 1, 2, 3]) == (len(run.steps), run.generation, [one.row.event.position for one in run.steps])
    assert isinstance(last, story.Step)
    assert isinstance(moved, story.Step)
    assert (4, 5) == (last.row.event.position, moved.row.event.position)


def test_a_short_stretch_is_told_step_by_step() -> None:
    rows = told_rows(*((n * MINUTE, rotated(n + 2), HOME_NET) for n in range(3)))

    assert story.steps(rows) == story.folded(story.steps(rows))


def test_a_reuse_is_told_with_the_use_before_it_and_the_time_since_it_was_replaced() -> None:
    came_back = family.TokenReuseDetected(
        actor="subject", subject=SUBJECT, client="web", generation=2, current=3, kind="one_behind", network_tag="n"
    )
    rows = told_rows((0, rotated(2), HOME_NET), (MINUTE, rotated(3), HOME_NET), (3 * MINUTE, came_back, TRAIN))
    found = story.reuse(rows, rows[1].event)

    assert found is not None
    assert (2, 3, "2\N{NO-BREAK SPACE}m") == (found.generation, found.current, found.after)
    assert "from another network, same device" == found.where
    assert rows[1].event == found.before
    assert 2 == story.presented(row.event for row in rows)
    assert (None, None) == (story.reuse(rows[:2], None), story.presented(row.event for row in rows[:2]))
