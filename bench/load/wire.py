"""The Linux transport: non-blocking sockets in one epoll set, times from the kernel.

One callback of asyncio drains every ready socket, sends what is due and decodes finished answers
in slices of at most SLICE_NS between reads.  It keeps the thread for up to TURN_NS before asyncio
has its own turn, because a pass through asyncio costs more than a read.
"""

from __future__ import annotations

import asyncio
import select
import time

from bench.address import Origin
from bench.errors import TargetError
from bench.load.clock import Timer
from bench.load.flow import ROUND_NS
from bench.load.pool import Address, Pool
from bench.load.replay import Replay
from bench.load.traffic import Traffic
from bench.model import Target
from bench.tls import tls_context

SLICE_NS = 300_000
TURN_NS = 20_000_000
SWEEP_NS = 250_000_000
BEAT_NS = 50_000_000
"""With nothing to read there is a turn so often: a longer pause was the machine's, not ours."""

BACKLOG_FLIGHTS = 2048
"""Finished answers wait while there is something to read, but not more than so many."""

WARM_BATCH = 32
_MS = 1_000_000


class Wire:
    """Sends flights and reads their answers; see the module's text.

    `spare` connections are kept open and idle, so that a due request finds one.  `exact_lengths`:
    answers are as long as was asked for, so that it is known when one's end is far.
    """

    clock = "kernel receive time (SO_TIMESTAMPNS), mapped to CLOCK_MONOTONIC"

    def __init__(
        self,
        target: Target,
        origin: Origin,
        replay: Replay,
        *,
        spare: int,
        exact_lengths: bool,
    ) -> None:
        self._replay = replay
        self._origin = origin
        self._timeouts = target.timeouts
        self._pool = Pool(origin, tls_context(target.tls) if origin.tls else None, spare=spare)
        self._timer = Timer()
        self._pool.epoll.register(self._timer.fd, select.EPOLLIN)
        self._traffic = Traffic(
            self._pool, self._timer, target.timeouts, replay, exact_lengths=exact_lengths
        )
        self._next_sweep_ns = 0
        self._left_ns = 0
        self._look_ns = 0
        self._due_ns: int | None = None
        self._over: asyncio.Future[None] | None = None

    # -- life ------------------------------------------------------------------------------

    async def warm(self, connections: int) -> None:
        """Opens connections in small batches before the clock starts.

        Of several addresses, as `localhost` often has, the first that takes connections is used.
        Raises TargetError when none does.
        """
        failures = []
        for address in self._pool.addresses if connections else ():
            why = await self._warm_at(address, connections)
            if self._pool.idle:
                return
            failures.append(f"{address.sockaddr[0]} port {address.sockaddr[1]}: {why}")
        if failures:
            raise TargetError(
                f"can't connect to {self._origin.authority}: {'; '.join(failures)}",
                "is the server up, and is the port right?",
            )

    async def _warm_at(self, address: Address, connections: int) -> str:
        """Opens connections to one address; the reason why there are fewer, if there are."""
        pool = self._pool
        pool.turn_to(address)
        deadline_ns = time.monotonic_ns() + round(self._timeouts.connect_s * 1e9)
        while pool.idle < connections:
            now_ns = time.monotonic_ns()
            if pool.error is not None:
                return str(pool.error)
            if now_ns > deadline_ns:
                return f"no connection within {self._timeouts.connect_s:g} s"
            try:
                while pool.opening < min(WARM_BATCH, connections - pool.idle):
                    pool.open(now_ns)
            except OSError as error:
                return str(error)
            self._traffic.read_ready(0.01)
            await asyncio.sleep(0)
        return ""

    async def run(self, start_ns: int) -> None:
        """Runs the replay from `start_ns` until it is finished."""
        loop = asyncio.get_running_loop()
        self._over = loop.create_future()
        self._replay.start(start_ns, self._traffic)
        self._next_sweep_ns = self._left_ns = time.monotonic_ns()
        self._arm()
        loop.add_reader(self._pool.epoll.fileno(), self._on_ready)
        beat = asyncio.create_task(self._beat())
        try:
            await self._over
        finally:
            beat.cancel()
            loop.remove_reader(self._pool.epoll.fileno())

    async def _beat(self) -> None:
        """Keeps timeouts and look-ahead going while no socket is ready."""
        while True:
            await asyncio.sleep(BEAT_NS / 1e9)
            self._on_ready()

    def abort(self) -> None:
        """Ends every flight now; they are recorded as aborted."""
        self._traffic.abort()

    def close(self) -> None:
        self._traffic.close()
        self._pool.close()
        self._timer.close()

    # -- the loop --------------------------------------------------------------------------

    def _on_ready(self) -> None:
        """A turn; what goes wrong in it ends the run instead of being logged by asyncio."""
        assert self._over is not None
        if self._over.done():
            return
        try:
            self._turn()
        except Exception as error:
            self._over.set_exception(error)

    def _turn(self) -> None:
        """Reads, sends and decodes until there is nothing to do or asyncio must have a turn.

        A stall is the time from when something could have been read to when it could be read again.
        A wait that is longer than it was to be counts as well: then the process was stopped, or
        asyncio held the thread, and no one would have read.
        """
        replay, traffic, timer = self._replay, self._traffic, self._timer
        counters, done = replay.counters, traffic.done
        now_ns = time.monotonic_ns()
        until_ns = now_ns + TURN_NS
        awaited_ns, wait_ns = min(now_ns, self._left_ns + BEAT_NS), 0
        more = True
        while True:
            got = traffic.read_ready(wait_ns / 1e9)
            awaited_ns = min(awaited_ns, traffic.polled_ns)
            now_ns = time.monotonic_ns()
            # only an ended answer or the time gives more to do than to read
            if more or done or now_ns >= self._look_ns or timer.armed_ns != self._due_ns:
                more = self._tend(now_ns, got > 0)
                now_ns = time.monotonic_ns()
            counters.stall_max_ns = max(counters.stall_max_ns, now_ns - awaited_ns)
            in_flow = traffic.in_flow
            if now_ns >= until_ns or (wait_ns and not (got or more or in_flow)):
                break
            if more:
                wait_ns = 0
            elif in_flow:
                wait_ns = ROUND_NS
            else:
                wait_ns = (until_ns - now_ns) // _MS * _MS + _MS
            awaited_ns = now_ns + wait_ns
        self._left_ns = now_ns
        if replay.finished and self._over is not None and not self._over.done():
            self._over.set_result(None)
        elif more or traffic.in_flow:
            asyncio.get_running_loop().call_soon(self._on_ready)

    def _tend(self, now_ns: int, reading: bool) -> bool:
        """Sends what is due, looks after what has to be now and then, decodes; True when more is
        to be decoded.  While there was something to read that waits, up to BACKLOG_FLIGHTS.
        """
        replay, done = self._replay, self._traffic.done
        due_ns = replay.next_due_ns
        if due_ns is not None and due_ns <= now_ns:
            replay.release(now_ns)
        if now_ns >= self._next_sweep_ns:
            self._sweep(now_ns)
        if not replay.stopping:
            self._pool.refill(now_ns)
        more = bool(done) and reading
        if not more:
            more = self._decode_slice()
        while len(done) > BACKLOG_FLIGHTS:
            more = self._decode_slice()
        self._arm()
        return more

    def _arm(self) -> None:
        """Notes when there is something to be done next, and sets the timer if that is a send."""
        self._due_ns = due_ns = self._replay.next_due_ns
        self._look_ns = self._next_sweep_ns
        if due_ns is not None:
            self._look_ns = min(due_ns, self._next_sweep_ns)
            self._timer.arm(due_ns)

    def _sweep(self, now_ns: int) -> None:
        """What is looked at now and then: time limits, look-ahead, the end of the drain."""
        self._next_sweep_ns = now_ns + SWEEP_NS
        self._traffic.sweep(now_ns)
        replay = self._replay
        replay.look_ahead(now_ns)
        if replay.abort_at_ns is not None and now_ns >= replay.abort_at_ns:
            self.abort()

    def _decode_slice(self) -> bool:
        """Decodes finished answers, or renders ahead, for one slice; True when more is left."""
        done, replay = self._traffic.done, self._replay
        if not done and not replay.prepare():
            return False
        until_ns = time.monotonic_ns() + SLICE_NS
        while done:
            replay.recorded(done.popleft())
            if time.monotonic_ns() >= until_ns:
                return bool(done)
        while replay.prepare():
            if time.monotonic_ns() >= until_ns:
                return True
        return False
