"""The circuit breaker and the deadline, without a server and without waiting."""

from __future__ import annotations

import math
import threading
from contextlib import suppress

import pytest

from vist2_memory.errors import StoreUnavailableError
from vist2_memory.store.breaker import Breaker
from vist2_memory.store.deadline import deadline, remaining


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Server:
    """Calls through a breaker that stays open as long as it may."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.breaker = Breaker(
            "Redis at h",
            first_pause=1,
            longest_pause=5,
            clock=self.clock,
            draw=lambda low, high: high,
        )
        self.calls = 0

    def call(self, error: BaseException | None = None) -> None:
        with self.breaker.guard(lambda error: isinstance(error, ConnectionError)):
            self.calls += 1
            if error is not None:
                raise error

    def fail(self) -> None:
        with pytest.raises(ConnectionError):
            self.call(ConnectionError("no route"))

    def refused(self) -> StoreUnavailableError:
        before = self.calls
        with pytest.raises(StoreUnavailableError) as caught:
            self.call()
        assert self.calls == before
        return caught.value


def test_after_a_failure_calls_are_refused_until_one_may_try() -> None:
    server = Server()
    server.call()
    server.fail()
    error = server.refused()
    assert str(error) == "Redis at h cannot be reached and is tried again in 1.0 s: no route"
    assert error.retry_after == server.breaker.open_for == 1.0
    server.clock.now += 0.75
    assert server.refused().retry_after == pytest.approx(0.25)
    server.clock.now += 0.25
    server.call()
    server.call()
    assert server.breaker.open_for == 0


def test_each_trial_that_fails_doubles_the_pause_up_to_the_longest() -> None:
    server = Server()
    pauses = []
    for _ in range(5):
        server.fail()
        pauses.append(server.breaker.open_for)
        server.clock.now += pauses[-1]
    assert pauses == [1, 2, 4, 5, 5]
    server.call()
    server.fail()
    assert server.breaker.open_for == 1


def test_the_pause_is_drawn_from_its_upper_half() -> None:
    drawn = []

    def draw(low: float, high: float) -> float:
        drawn.append((low, high))
        return low

    breaker = Breaker("h", first_pause=4, draw=draw, clock=lambda: 0.0)
    with pytest.raises(OSError, match="gone"), breaker.guard(lambda error: True):
        raise OSError("gone")
    assert (drawn, breaker.open_for) == ([(2, 4)], 2)


def test_an_error_that_the_server_itself_sent_closes_it() -> None:
    server = Server()
    server.fail()
    server.clock.now += 1
    with pytest.raises(ValueError, match="wrong"):
        server.call(ValueError("wrong"))
    server.call()


def test_an_interrupted_trial_leaves_it_to_the_next_call() -> None:
    server = Server()
    server.fail()
    server.clock.now += 1
    with pytest.raises(KeyboardInterrupt):
        server.call(KeyboardInterrupt())
    server.call()


def test_only_one_call_tries_at_a_time_and_calls_that_fail_together_count_once() -> None:
    server = Server()
    inside, go_on = threading.Barrier(3, timeout=10), threading.Event()

    def fail_together() -> None:
        with suppress(ConnectionError), server.breaker.guard(lambda error: True):
            inside.wait()
            raise ConnectionError("gone")

    threads = [threading.Thread(target=fail_together) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.breaker.open_for == 1
    server.clock.now += 1
    started = threading.Event()

    def try_slowly() -> None:
        with server.breaker.guard(lambda error: True):
            started.set()
            go_on.wait(10)

    trial = threading.Thread(target=try_slowly)
    trial.start()
    started.wait(10)
    assert "by another call just now" in str(server.refused())
    go_on.set()
    trial.join()
    server.call()


def test_a_deadline_is_never_put_off_by_one_inside_it() -> None:
    assert remaining() == math.inf
    with deadline(50):
        assert 49 < remaining() <= 50
        with deadline(10):
            assert 9 < remaining() <= 10
        with deadline(90):
            assert remaining() <= 50
    with deadline(0):
        assert remaining() <= 0
    assert remaining() == math.inf
