"""Connections that are kept ready for requests that are due by the clock."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator

import pytest

from bench.address import parse_origin
from bench.load.pool import KEEP_IDLE_NS, RETRY_NS, Pool

SPARE = 3


@pytest.fixture
def pool() -> Iterator[Pool]:
    """To a port where connections are taken by the kernel and nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        pool = Pool(parse_origin(f"http://127.0.0.1:{server.getsockname()[1]}"), None, spare=SPARE)
        yield pool
        pool.close()


@pytest.fixture
def connected(pool: Pool) -> Callable[[int], None]:
    """Lets what is connecting become idle at an instant."""

    def wait(now_ns: int) -> None:
        while pool.opening:
            for fd, _ in pool.epoll.poll(5):
                connection = pool.connections[fd]
                connection.on_writable()
                pool.opening -= 1
                pool.give_back(connection, now_ns)

    return wait


def test_one_is_opened_at_a_time_until_there_are_enough(
    pool: Pool, connected: Callable[[int], None]
) -> None:
    """Those on their way count; a request that takes one makes room for another."""
    for number in range(1, SPARE + 3):
        pool.refill(0)
        assert pool.opening == min(number, SPARE)
    connected(0)
    assert (pool.idle, pool.opening) == (SPARE, 0)
    pool.refill(0)
    assert pool.opening == 0
    assert pool.take() is not None
    pool.refill(0)
    assert pool.opening == 1


def test_after_a_lost_one_none_is_opened_for_a_while(pool: Pool) -> None:
    """A server that is down, or closes what is idle, is not asked without end."""
    pool.lost(ConnectionRefusedError(errno.ECONNREFUSED, "refused"), 7)
    pool.refill(7 + RETRY_NS - 1)
    assert pool.opening == 0
    pool.refill(7 + RETRY_NS)
    assert pool.opening == 1


def test_no_descriptor_left_is_a_lost_one(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is kept for who asks, raises nothing, and is tried again later."""
    monkeypatch.setattr(pool, "_most", 0)
    pool.refill(0)
    assert pool.error is not None
    assert pool.error.errno == errno.EMFILE
    monkeypatch.undo()
    pool.refill(RETRY_NS - 1)
    assert pool.opening == 0
    pool.refill(RETRY_NS)
    assert pool.opening == 1


def test_what_was_idle_for_long_is_replaced(pool: Pool, connected: Callable[[int], None]) -> None:
    """Before the server closes it in a request's face."""
    pool.refill(0)
    connected(0)
    pool.sweep(KEEP_IDLE_NS, 10.0)
    assert pool.idle == 1
    pool.sweep(KEEP_IDLE_NS + 1, 10.0)
    assert (pool.idle, len(pool.dropped)) == (0, 1)
    pool.refill(KEEP_IDLE_NS + 1)
    assert pool.opening == 1


def test_what_never_connects_is_dropped(pool: Pool) -> None:
    """Its place is free for another try."""
    pool.refill(0)
    pool.sweep(2_000_000_000, 2.0)
    assert pool.opening == 1
    pool.sweep(2_000_000_001, 2.0)
    assert (pool.opening, len(pool.connections)) == (0, 0)
