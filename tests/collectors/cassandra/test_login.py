"""How often a password is sent: once, until it was accepted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_diagnostics.collectors.cassandra.login import MOST_SENT, WITHHELD, Authenticator, Login, refusal


class Sender:
    """An authenticator of the driver's: says the password when a server asks."""

    def __init__(self, sent: list[str]) -> None:
        self.initial_response: Callable[[], object] = lambda: sent.append("tiger")
        self.on_authentication_success: Callable[[object], None] = lambda _: None


class Senders:
    """The driver's provider."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def new_authenticator(self, host: str) -> Authenticator:
        assert host
        return Sender(self.sent)


def test_a_password_that_was_not_accepted_is_not_sent_to_the_next_node() -> None:
    senders = Senders()
    login = Login(senders, PermissionError)
    first, second = login.new_authenticator("a"), login.new_authenticator("b")

    first.initial_response()
    with pytest.raises(PermissionError, match=WITHHELD):
        second.initial_response()

    assert senders.sent == ["tiger"]


def test_an_accepted_password_is_sent_to_every_node_and_a_changed_one_a_few_times() -> None:
    senders = Senders()
    login = Login(senders, PermissionError)
    for _ in range(3 * MOST_SENT):
        accepted = login.new_authenticator("a")
        accepted.initial_response()
        accepted.on_authentication_success(b"")
    senders.sent.clear()

    for _ in range(MOST_SENT):
        login.new_authenticator("a").initial_response()
    with pytest.raises(PermissionError):
        login.new_authenticator("a").initial_response()

    assert len(senders.sent) == MOST_SENT


@pytest.mark.parametrize(
    ("said", "is_refusal"),
    [
        ('Error from server: code=0100 [Bad credentials] message="Provided username u …"', True),
        ("Remote end requires authentication", True),
        (
            'code=0100 [Bad credentials] message="Unable to perform authentication: Cannot achieve QUORUM"',
            False,
        ),
        ("code=1001 [Coordinator node overloaded]", False),
        (WITHHELD, False),
    ],
)
def test_only_what_says_that_user_or_password_are_wrong_is_final(said: str, *, is_refusal: bool) -> None:
    assert (refusal(said) is not None) == is_refusal
