"""`python -m bench.peers.serve PORT CORE THREADS`: the project behind the server that we use ourselves, on one core.

One process, for the ledger it is measured beside is one process. Threads, since every view waits for the database.
"""

import os
import sys


def main() -> None:
    port, core, threads = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    options = f"--interface wsgi --host 127.0.0.1 --port {port} --no-ws --log-level critical --workers 1".split()
    threading = ["--blocking-threads", threads, "--backpressure", "256"]
    os.execv(sys.executable, [sys.executable, "-m", "granian", *options, *threading, "bench.peers.wsgi:application"])


if __name__ == "__main__":
    main()
