"""Wiring: a running service → what the doors work with → Litestar behind the edge. Decides nothing."""

from dataclasses import replace

from litestar import Litestar
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from api import (
    account,
    auth,
    clients,
    description,
    erasures,
    events,
    families,
    gateway,
    oauth,
    problems,
    public,
    revocations,
    ssf,
    subjects,
    webhooks,
)
from api.backend import backend_of
from api.door import Door
from api.streams import Open
from api.strict import strictly
from core import secevent
from core.keys import KeyUnavailable
from core.lookup import Lookup
from core.passwords import Busy
from core.polling import Polling
from core.retirement import Retirement
from core.revocations import Revocations, Watch
from core.watching import Watching
from dashboard import asked
from dashboard import routes as dashboard
from dashboard.door import Condition
from dashboard.door import Door as StaffDoor
from dashboard.pages import Pages
from dashboard.tails import Tails
from edge import Edge, EdgeConfig
from events.ledger import Unavailable
from events.overview import OverviewReader
from events.pivots import PivotReader
from events.revocations import RevocationReader
from events.search import EventSearch
from events.verifiers import VerifierReader
from service import Service, prepare
from settings import VERSION

__all__ = ["Application", "Service", "create_app", "prepare"]


def create_app(service: Service) -> Edge:
    """The ASGI application of a service that was started: Litestar behind the edge."""
    return Application(public_schema=service.settings.public_schema).attached(service)


class Application:
    """Litestar with all routes, which takes some 200 ms to make, and the doors of the service that they answer for."""

    def __init__(self, *, public_schema: bool) -> None:
        self._door: Door
        self._staff_door: StaffDoor
        self._pages = Pages(self._whence)
        self.litestar = Litestar(
            route_handlers=[
                auth.router,
                account.router,
                oauth.router,
                clients.router,
                families.router,
                subjects.router,
                erasures.router,
                events.router,
                revocations.router,
                gateway.router,
                webhooks.router,
                ssf.router,
                ssf.well_known,
                public.router,
                dashboard.router(lambda: self._staff_door),
            ],
            dependencies={
                "door": Provide(lambda: self._door, sync_to_thread=False),
                "backend": Provide(backend_of, sync_to_thread=False),
            },
            before_request=strictly,
            exception_handlers=problems.exception_handlers(),
            openapi_config=_description() if public_schema else None,
            logging_config=None,
            debug=False,
        )
        description.tell_methods(self.litestar)
        if public_schema:
            description.complete(self.litestar)

    def _whence(self, ip: str) -> object:
        return self._staff_door.geography.of(ip)

    def attached(self, service: Service) -> Edge:
        """The routes answer for this service from now on, and for no other."""
        settings = service.settings
        self._door, self._staff_door = door_of(service), staff_door_of(service, self._pages)
        self.litestar.state.door = self._door
        config = EdgeConfig(
            settings.public_url,
            settings.trusted_proxies,
            frozenset(settings.allowed_hosts),
            repeatable=asked.REPEATED,
            unavailable=(Unavailable, Busy, KeyUnavailable),
            page=self._pages.error,
            shares=lambda origin: origin in service.clients.origins or origin in settings.allowed_origins,
        )
        if settings.metrics_port is not None:
            config = replace(config, observe=service.metrics.request)
        return Edge(self.litestar, config)


def _description() -> OpenAPIConfig:
    """The API's description as JSON, at /schema. The pages that Litestar offers load scripts from other hosts."""
    shown = JsonRenderPlugin(path=["/", "/openapi.json"])
    return OpenAPIConfig(
        "Session Ledger",
        VERSION,
        components=description.components(),
        path="/schema",
        render_plugins=[shown],
        use_handler_docstrings=True,
    )


def door_of(service: Service) -> Door:
    """What the API's routes work with."""
    settings, growth = service.settings, Watch(service.history.newest, service.stopping)
    return Door(
        families=service.families,
        subjects=service.subjects,
        clients=service.clients,
        keys=service.keys,
        reader=service.family_reader,
        history=service.history,
        checkpointing=service.checkpointing,
        grants=service.grants,
        backends=service.backends,
        erasures=service.erasures,
        actions=service.actions,
        proofs=service.proofs,
        family_search=service.family_search,
        limits=service.limits,
        search=EventSearch(service.engine),
        revocations=revocations_of(service),
        webhooks=service.webhooks,
        deliveries=service.deliveries,
        poster=service.poster,
        polling=polling_of(service),
        growth=growth,
        streams=Open(),
        stopping=service.stopping,
        now=service.writer.now,
        ready=service.is_ready,
        own_origin=settings.public_url,
        web_origins=frozenset(settings.allowed_origins),
    )


def polling_of(service: Service) -> Polling:
    """Security event tokens that are fetched. Sessions that are merely refreshed wake nobody who waits for one."""
    tools, reader = service.delivery_tools, service.webhooks.reader
    growth = Watch(lambda: reader.newest(secevent.CODES), service.stopping)
    return Polling(service.webhooks, service.poster, service.deliveries, tools.source, service.writer, growth)


def revocations_of(service: Service) -> Revocations:
    """The feed of what was revoked."""
    reader, heard = RevocationReader(service.engine), VerifierReader(service.engine)
    return Revocations(reader, heard, service.writer, service.stopping)


def staff_door_of(service: Service, pages: Pages) -> StaffDoor:
    """What the dashboard's routes work with."""
    return StaffDoor(
        families=service.families,
        factors=service.factors,
        enrolling=service.enrolling,
        history=service.history,
        family_reader=service.family_reader,
        subject_reader=service.subject_reader,
        own_origin=service.settings.public_url,
        pages=pages,
        now=service.writer.now,
        actions=service.actions,
        watching=Watching(service.ledger),
        lookup=Lookup(
            service.families,
            service.keys,
            service.subject_reader,
            service.history,
            service.clients,
            service.settings.issuer,
        ),
        subjects=service.subjects,
        erasures=service.erasures,
        family_search=service.family_search,
        pivots=PivotReader(service.engine),
        overview=OverviewReader(service.engine),
        keys=service.keys,
        clients=service.clients,
        verification=service.verification,
        condition=lambda: condition_of(service),
        living=lambda: service.living.living,
        search=EventSearch(service.engine),
        tails=Tails(service.stopping),
        revocations=revocations_of(service),
        geography=service.geography,
        webhooks=service.webhooks,
        deliveries=service.deliveries,
        retirement=Retirement(service.ledger, service.engine, service.family_reader),
        standing=lambda: service.living.standing,
        failing=lambda: service.agreement.failing,
    )


def condition_of(service: Service) -> Condition:
    """How the service is now."""
    signed = service.checkpointing
    return Condition(
        version=VERSION,
        waiting=service.ledger.waiting,
        commands=service.ledger.commands,
        batches=service.ledger.batches,
        signed=signed.size,
        signed_at=int(signed.signed_at * 1_000_000),
        note=signed.note,
        sizes=service.store.sizes(),
    )
