"""core.store.patience: calls wait for a store that is away, say so once, and wait no longer than they should."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.errors import StoreError, StoreUnavailableError
from core.store import patience
from core.store.patience import Patience, patient


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.01)


def away(times: int) -> Callable[[], str]:
    """Work that fails so often, then succeeds."""
    failures = iter([StoreUnavailableError("The store is not available now.")] * times)

    def work() -> str:
        for failure in failures:
            raise failure
        return "done"

    return work


def test_work_is_done_again_until_it_succeeds_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    waiting = Patience()
    assert waiting.call(away(4)) == "done"
    assert caplog.messages == [
        "The store is not available now. Waiting for it; results so far are kept.",
        "The store is back after 0 s; going on.",
    ]
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    assert 0.15 <= waiting.take_waited_s() < 5.0  # 0.01 + 0.02 + 0.04 + 0.08
    assert waiting.take_waited_s() == 0.0


def test_what_succeeds_at_once_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    waiting = Patience()
    assert waiting.call(away(0)) == "done"
    assert (caplog.messages, waiting.take_waited_s()) == ([], 0.0)


def test_pauses_double_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LONGEST_PAUSE_S", 0.03)
    pauses = []
    waiting = Patience()
    monkeypatch.setattr(waiting._is_over, "wait", lambda seconds: pauses.append(seconds))
    waiting.call(away(4))
    assert pauses == [0.01, 0.02, 0.03, 0.03]


@pytest.mark.parametrize("error", [StoreError("full"), RuntimeError("a bug")])
def test_other_failures_are_raised_at_once(error: Exception) -> None:
    calls = []

    def work() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        Patience().call(work)
    assert len(calls) == 1


def test_patience_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE_S", 0.05)
    with pytest.raises(StoreUnavailableError):
        Patience().call(away(1_000))


def test_those_who_wait_are_freed_by_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 60.0)
    waiting, tried = Patience(), threading.Event()

    def work() -> None:
        tried.set()
        raise StoreUnavailableError("away")

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(waiting.call, work)
        assert tried.wait(10)
        waiting.end()
        with pytest.raises(StoreUnavailableError):
            future.result(timeout=10)
    started = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        waiting.call(away(1))
    assert time.monotonic() - started < 10
    assert waiting.call(away(0)) == "done"


def test_threads_that_wait_together_tell_it_once(caplog: pytest.LogCaptureFixture) -> None:
    waiting, is_away = Patience(), threading.Event()
    is_away.set()
    barrier = threading.Barrier(4)

    def work() -> str:
        if is_away.is_set():
            raise StoreUnavailableError("away.")
        return "done"

    def call() -> str:
        barrier.wait()
        return waiting.call(work)

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(call) for _ in range(4)]
        time.sleep(0.2)
        is_away.clear()
        assert [future.result(timeout=20) for future in futures] == ["done"] * 4
    assert caplog.messages[0] == "away. Waiting for it; results so far are kept."
    assert len(caplog.messages) == 2


def test_a_patient_method_keeps_its_arguments_and_words() -> None:
    class Writer:
        def __init__(self) -> None:
            self.patience, self.fail = Patience(), away(2)

        @patient
        def write(self, first: int, *, second: int) -> tuple[int, int]:
            """Writes."""
            self.fail()
            return first, second

    assert Writer().write(1, second=2) == (1, 2)
    assert Writer.write.__doc__ == "Writes."
