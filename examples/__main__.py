"""The whole example with one command: the service, the resource server and its page, until Ctrl-C."""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO, TypeAlias

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "cli"]
NAME = "alice"
PASSWORD = "walnut-river-lantern-42"
"""Of the one account of an example that is gone when it is stopped."""
PATIENCE = 60
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))

Process: TypeAlias = subprocess.Popen[bytes]


def main() -> None:
    """Start all, say where to look, wait for Ctrl-C."""
    given = _arguments()
    page = f"http://localhost:{given.page_port}"
    ledger = given.service or f"http://localhost:{given.service_port}"
    _demand_free(given.page_port, "--page-port")
    if given.service is None:
        _demand_free(given.service_port, "--service-port")
    with ExitStack() as stack:
        secret = os.environ.get("NOTES_SECRET", "")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="session-ledger-example-")))
        log = stack.enter_context((folder / "log").open("w+", encoding="utf-8"))
        if given.service is None:
            secret = stack.enter_context(_service(folder, given.service_port, page, log))
        notes = stack.enter_context(serving_notes(given.page_port, ledger, secret, log))
        print(f"Open {page}")
        if given.service is None:
            print(f"Sign in as {NAME} with {PASSWORD}. Nothing of this is kept.")
        else:
            print(f"{ledger} must run with LEDGER_ALLOWED_ORIGINS={page}.")
        print("Stop with Ctrl-C.", flush=True)
        notes.wait()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples", description=__doc__)
    parser.add_argument("--page-port", type=int, default=8100, help="Port of the page and its resource server.")
    parser.add_argument("--service-port", type=int, default=8000, help="Port of the service that is started.")
    parser.add_argument(
        "--service",
        help="URL of a service that runs already, such as http://localhost:8000. To follow its revocations, set "
        "NOTES_SECRET to the secret of its confidential client `notes` with the scope revocations:read.",
    )
    return parser.parse_args()


def _demand_free(port: int, option: str) -> None:
    """Else what answers there would be taken for ours."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            raise SystemExit(
                f"Port {port} is in use: stop what uses it, or run .venv/bin/python -m examples {option} {port + 1}."
            ) from None


@contextmanager
def _service(folder: Path, port: int, page: str, log: TextIO) -> Iterator[str]:
    """A service with an empty ledger and one user; gives the secret of the resource server's client.

    Tokens live a minute, so that a refresh can be watched.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LEDGER_")}
    settings = {
        "LEDGER_DATA_DIR": str(folder / "data"),
        "LEDGER_PORT": str(port),
        "LEDGER_ALLOWED_ORIGINS": page,
        "LEDGER_ACCESS_TTL": "60",
        "LEDGER_RETRY_LEEWAY": "6",
    }
    environment = inherited | settings
    _done(environment, "migrate")
    with _process([*COMMAND, "serve"], environment, log) as service:
        wait_for(f"http://localhost:{port}/health/ready", service, log)
        _done(environment, "user", "add", NAME, "--password-stdin", typed=PASSWORD)
        client = ("client", "add", "notes", "--confidential", "--operator", "--scope", "revocations:read")
        yield _done(environment, *client).split()[-1]


def _done(environment: Mapping[str, str], *arguments: str, typed: str = "") -> str:
    """What a command prints, which must succeed."""
    command = [*COMMAND, *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, input=typed, text=True
    )
    return done.stdout


@contextmanager
def serving_notes(port: int, ledger: str, secret: str, log: TextIO | None = None) -> Iterator[Process]:
    """The resource server, once it answers. What it has to say goes into `log`, or to where ours goes."""
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--factory", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--log-level", "warning", "examples.notes:create_app"]
    ours = {"LEDGER_PUBLIC_URL": ledger, "NOTES_SECRET": secret, "PYTHONPATH": str(ROOT / "clients" / "python")}
    with _process(command, os.environ | ours, log) as notes:
        wait_for(f"http://localhost:{port}/ready", notes, log)
        yield notes


@contextmanager
def _process(command: list[str], environment: Mapping[str, str], log: TextIO | None) -> Iterator[Process]:
    """A process, ended with whoever needs it."""
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=log) as process:
        try:
            yield process
        finally:
            process.terminate()


def wait_for(url: str, process: Process, log: TextIO | None = None) -> None:
    """Until it answers. Ends the example where the process has ended, with what that said."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with NO_PROXY.open(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    if log is not None:
        log.seek(0)
        sys.stderr.write(log.read())
    raise SystemExit(f"{url} does not answer.")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # nothing that was started is left behind
    try:
        main()
    except KeyboardInterrupt:
        print()
