"""Signals and timers arrive where, and as often as, they were meant to."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time

import pytest

alone = pytest.mark.skipif("PYTEST_XDIST_WORKER" in os.environ, reason="execnet has a thread of its own")


@alone
def test_waits_for_a_blocked_signal() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        for _ in range(20):
            os.kill(os.getpid(), signal.SIGUSR1)
            assert signal.sigwait({signal.SIGUSR1}) == signal.SIGUSR1
            time.sleep(0.002)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})


def test_a_blocked_signal_is_pending() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR2)
        time.sleep(0.03)
        assert signal.sigpending() == {signal.SIGUSR2}
        assert signal.sigwait({signal.SIGUSR2}) == signal.SIGUSR2
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        (signal.ITIMER_REAL, signal.SIGALRM),
        (signal.ITIMER_VIRTUAL, signal.SIGVTALRM),
        (signal.ITIMER_PROF, signal.SIGPROF),
    ],
)
def test_gets_its_timer(kind: int, number: signal.Signals) -> None:
    rung: list[threading.Thread] = []
    previous = signal.signal(number, lambda *_: rung.append(threading.current_thread()))
    signal.setitimer(kind, 0.01, 0.01)
    end = time.monotonic() + 10
    while len(rung) < 4 and time.monotonic() < end:
        pass
    assert signal.setitimer(kind, 0)[1] == pytest.approx(0.01, abs=0.005)
    signal.signal(number, previous)
    assert set(rung) == {threading.main_thread()}


def test_an_alarm_interrupts_its_sleep() -> None:
    def awake(*_: object) -> None:
        raise InterruptedError("awake")

    previous = signal.signal(signal.SIGALRM, awake)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    began = time.monotonic()
    try:
        with pytest.raises(InterruptedError, match="awake"):
            time.sleep(60)
        assert 0.05 < time.monotonic() - began < 5
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_gets_its_wakeup() -> None:
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    with reader, writer:
        before = signal.set_wakeup_fd(writer.fileno())
        previous = signal.signal(signal.SIGUSR2, lambda *_: None)
        time.sleep(0.03)
        os.kill(os.getpid(), signal.SIGUSR2)
        assert reader.recv(100) == bytes([signal.SIGUSR2])
        assert signal.set_wakeup_fd(before) == writer.fileno()
        signal.signal(signal.SIGUSR2, previous)
