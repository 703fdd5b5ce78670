"""Logging in so that no account is ever locked: a password that was not accepted is not sent again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

#: As often is a password sent without a success in between, after it had been accepted once: to several
#: nodes at a time. Before that it is sent once.
MOST_SENT = 4
WITHHELD = "the password was not sent again: it was not accepted before"


class Authenticator(Protocol):
    """The driver's, of one connection. Its methods are replaced by those that count."""

    initial_response: Callable[[], object]
    on_authentication_success: Callable[[object], None]


class Provider(Protocol):
    """The driver's: makes an authenticator for each connection."""

    def new_authenticator(self, host: str) -> Authenticator:
        """Return the authenticator of one connection."""


class Login:
    """Stands before the driver's provider and counts how often a password was sent in vain."""

    def __init__(self, provider: Provider, error: Callable[[str], Exception]) -> None:
        """``error`` makes the exception that says that nothing is sent."""
        self._provider = provider
        self._error = error
        self._lock = threading.Lock()
        self._in_vain = 0
        self._succeeded = False

    def new_authenticator(self, host: str) -> Authenticator:
        """Return one that is asked for the password only when a server wants it."""
        authenticator = self._provider.new_authenticator(host)
        respond = authenticator.initial_response

        def initial_response() -> object:
            with self._lock:
                if self._in_vain >= (MOST_SENT if self._succeeded else 1):
                    raise self._error(WITHHELD)
                self._in_vain += 1
            return respond()

        def on_authentication_success(_: object) -> None:
            with self._lock:
                self._in_vain, self._succeeded = 0, True

        authenticator.initial_response = initial_response
        authenticator.on_authentication_success = on_authentication_success
        return authenticator


def refusal(text: str) -> str | None:
    """Return what a server said when it knows this user and password to be wrong; None for anything else."""
    if text == WITHHELD or "Unable to perform authentication" in text:
        return None  # it could not read its own table of users
    return text if "code=0100" in text or "requires authentication" in text else None
