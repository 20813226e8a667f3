"""Verifies access tokens of a Session Ledger. Signs nobody in and stores nothing."""

from session_ledger_client.aio import AsyncVerifier
from session_ledger_client.claims import Claims
from session_ledger_client.dpop import Request
from session_ledger_client.errors import InsufficientScope, InvalidToken, SessionLedgerError, Unavailable
from session_ledger_client.feed import FAIL_CLOSED, FAIL_OPEN, Feed
from session_ledger_client.rules import Rules
from session_ledger_client.verifier import Verifier

__all__ = [
    "FAIL_CLOSED",
    "FAIL_OPEN",
    "AsyncVerifier",
    "Claims",
    "Feed",
    "InsufficientScope",
    "InvalidToken",
    "Request",
    "Rules",
    "SessionLedgerError",
    "Unavailable",
    "Verifier",
]
