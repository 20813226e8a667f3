"""Receivers of webhooks: real servers on this machine that keep what arrives and answer as they are told."""

import json
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from standardwebhooks.webhooks import Webhook as Verifier


class Arrived(NamedTuple):
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)["data"]
        return found

    def verified(self, secret: str) -> Any:
        """The body, once the library of Standard Webhooks has checked it. Raises WebhookVerificationError."""
        return Verifier(secret).verify(self.body, self.headers)


class Answer(NamedTuple):
    """What a receiver says."""

    status: int = 204
    headers: dict[str, str] = {}  # noqa: RUF012 - read only
    body: bytes = b""


Answers = Callable[[Arrived], Answer]


class Receiver:
    """A server on a port of its own; `answers` may be changed at any time."""

    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.arrived: list[Arrived] = []
        self.answers: Answers = lambda _: Answer()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:
                    return  # the sender died in the middle
                arrived = Arrived(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                receiver.arrived.append(arrived)
                with suppress(OSError):
                    receiver._answer(self, receiver.answers(arrived))

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """Whoever called may have died."""

        self._server = Server(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def types(self) -> list[str]:
        return [one.event["type"] for one in self.arrived]

    def first_of_each(self) -> list[Arrived]:
        """As a receiver sees it that knows ids: each message once, when it came first."""
        return list({one.id: one for one in reversed(self.arrived)}.values())[::-1]

    @staticmethod
    def _answer(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        handler.wfile.write(answer.body)


def in_order(arrived: list[Arrived]) -> bool:
    """Whether the events of each stream came in the log's order."""
    last: dict[str, int] = {}
    for one in arrived:
        stream, position = one.event["stream"], one.event["position"]
        if position < last.get(stream, -1):
            return False
        last[stream] = position
    return True
