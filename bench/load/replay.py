"""The replay loop: which turn is due when, for open and closed loops alike.

It knows no sockets.  A transport calls `release` when time has come, `ended` when the last byte
of an answer is there, and `recorded` when it has been decoded.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from bench.load.conclude import conclude, unsent
from bench.load.conversation import Conversation, Render
from bench.load.dialects.answer import Dialect
from bench.load.dialects.table import CHAT
from bench.load.flight import Flight
from bench.load.pace import SLOT_STEP_S, Counters, Pace
from bench.model import Exchange, Outcome, Session, Workload

REST_NS = 250_000_000
"""A slot of a closed loop that found nobody to connect to waits so long before it tries again."""

LOOKAHEAD_NS = 2_000_000_000
LOOKAHEAD_FLIGHTS = 256
LOOKAHEAD_BYTES = 64 * 2**20
"""A closed loop has a request rendered for each of its slots, as far as they are no more than this
together: slots that opened together fall free together."""


class Transport(Protocol):
    def submit(self, flight: Flight) -> None:
        """Sends the flight's request as soon as the transport can."""

    def abort(self) -> None:
        """Ends every flight at once; each is still reported through `ended` and `recorded`."""


class Sink(Protocol):
    def add(self, exchange: Exchange) -> None:
        """Takes one finished exchange; must not block."""


class Replay:
    """Plans sends from sessions, one worker's share of a run."""

    def __init__(
        self,
        workload: Workload,
        pace: Pace,
        render: Render,
        sink: Sink,
        *,
        run_tag: str,
        worker: int = 0,
        dialect: Dialect = CHAT,
    ) -> None:
        self._dialect = dialect
        self._workload = workload
        self._sessions: Iterator[Session] = workload.sessions()
        self._pace = pace
        self._render = render
        self._sink = sink
        self._run_tag = run_tag
        self._worker = worker
        self._transport: Transport | None = None
        self._heap: list[tuple[int, int, Conversation | None]] = []
        self._later: list[tuple[int, int, Conversation]] = []
        self._first_turns_waiting = 0
        self._order = 0
        self._unrendered: deque[Conversation] = deque()
        self._ready: deque[Conversation] = deque()
        self._ready_bytes = 0
        self._ready_wanted = pace.concurrency or 0
        self._upcoming: Session | None = None
        self._exhausted = False
        self._stop_ns: int | None = None
        self._stopped = False
        self._releasing = False
        self.abort_at_ns: int | None = None
        self._pending_records = 0
        self.start_ns = 0
        self.counters = Counters()

    # -- life ------------------------------------------------------------------------------

    def start(self, start_ns: int, transport: Transport) -> None:
        """Fixes the run's first instant; every due time counts from it."""
        self.start_ns = start_ns
        self._transport = transport
        pace = self._pace
        if pace.duration_s is not None:
            self._stop_ns = start_ns + round(pace.duration_s * 1e9)
        if pace.concurrency is None:
            self.look_ahead(start_ns)
            return
        ramp_s = SLOT_STEP_S * pace.concurrency if pace.ramp_s is None else pace.ramp_s
        step_ns = ramp_s * 1e9 / pace.concurrency
        for slot in range(pace.concurrency):
            self._push(start_ns + round(slot * step_ns), None)

    def prepare_ahead(self) -> None:
        """Renders the first requests before the clock starts."""
        if self._pace.concurrency is not None:
            self._fill_ready()
        while self.prepare():
            pass

    def stop(self, now_ns: int) -> None:
        """No more sends; what is in flight has the pace's `drain_s` to end."""
        if not self._stopped:
            self._stopped = True
            self.abort_at_ns = now_ns + round(self._pace.drain_s * 1e9)

    @property
    def stopping(self) -> bool:
        return self._stopped

    @property
    def finished(self) -> bool:
        """Nothing is in flight or to be sent any more."""
        if self.counters.running or self._pending_records:
            return False
        return self._stopped or (not self._heap and not self._later and self._exhausted)

    # -- time ------------------------------------------------------------------------------

    @property
    def next_due_ns(self) -> int | None:
        """When `release` has something to do; None when only an answer can bring more."""
        if self._stopped:
            return None
        if self._stop_ns is not None and (not self._heap or self._heap[0][0] >= self._stop_ns):
            return self._stop_ns
        return self._heap[0][0] if self._heap else None

    def release(self, now_ns: int) -> None:
        """Sends every turn that is due.

        A transport that fails a flight at once calls back from within; the loop that is under way
        then sees what that made due.
        """
        if self._stopped or self._releasing:
            return
        self._releasing = True
        heap, stop_ns = self._heap, self._stop_ns
        while heap and heap[0][0] <= now_ns and (stop_ns is None or heap[0][0] < stop_ns):
            due_ns, _, conversation = heapq.heappop(heap)
            if conversation is None:
                self._open_slot(due_ns)
            else:
                self._send(conversation, due_ns)
        self._releasing = False
        self.look_ahead(now_ns)
        if stop_ns is not None and now_ns >= stop_ns:
            self.stop(now_ns)

    def look_ahead(self, now_ns: int) -> None:
        """Takes what comes due soon into view; call it now and then, also when nothing is due."""
        later = self._later
        while later and later[0][0] <= now_ns + LOOKAHEAD_NS:
            due_ns, _, conversation = heapq.heappop(later)
            self._to_render(conversation)
            self._push(due_ns, conversation)
        if self._pace.concurrency is None:
            self._pull(now_ns)

    def prepare(self) -> bool:
        """Renders one request ahead of its time; False when there is none to render."""
        while self._unrendered:
            conversation = self._unrendered.popleft()
            if conversation.awaits_render:
                waits_for_slot = conversation.slot and conversation.next_turn == 0
                self._render_next(conversation)
                if waits_for_slot and conversation.flight is not None:
                    self._ready_bytes += len(conversation.flight.request)
                return True
        if len(self._ready) < self._ready_wanted:
            self._fill_ready(1)
            return bool(self._unrendered)
        return False

    # -- answers ---------------------------------------------------------------------------

    def ended(self, flight: Flight) -> None:
        """The answer's last byte is there: frees its slot, makes the next turn due."""
        self.counters.running -= 1
        self._pending_records += 1
        conversation = flight.follow_up
        if isinstance(conversation, Conversation) and conversation.history is None:
            self._go_on(conversation, flight)

    def recorded(self, flight: Flight) -> None:
        """The answer has been decoded: hands its record to the sink."""
        exchange = conclude(flight)
        self._pending_records -= 1
        conversation = flight.follow_up
        if isinstance(conversation, Conversation) and conversation.history is not None:
            if exchange.outcome is Outcome.OK:
                conversation.hear(flight)
                self._go_on(conversation, flight)
            else:
                self._give_up(conversation, flight)
        self._put(exchange)

    # -- inside ----------------------------------------------------------------------------

    def _to_render(self, conversation: Conversation) -> None:
        while self._unrendered and not self._unrendered[0].awaits_render:
            self._unrendered.popleft()
        conversation.awaits_render = True
        self._unrendered.append(conversation)

    def _push(self, due_ns: int, conversation: Conversation | None) -> None:
        self._order += 1
        heapq.heappush(self._heap, (due_ns, self._order, conversation))

    def _next_session(self) -> Session | None:
        session = next(self._sessions, None)
        if session is None:
            self._exhausted = True
            self._ready_wanted = 0
        return session

    def _pull(self, now_ns: int) -> None:
        """Open loop: takes sessions whose time is within the look-ahead into the heap."""
        horizon_ns = now_ns + LOOKAHEAD_NS
        while not self._exhausted and self._first_turns_waiting < LOOKAHEAD_FLIGHTS:
            session = self._upcoming or self._next_session()
            self._upcoming = None
            if session is None:
                return
            due_ns = self.start_ns + round((session.turns[0].at_s or 0.0) * 1e9)
            if due_ns > horizon_ns and self._first_turns_waiting:
                self._upcoming = session
                return
            if self._stop_ns is not None and due_ns >= self._stop_ns:
                self._exhausted = True
                return
            conversation = Conversation(session)
            self._first_turns_waiting += 1
            self._to_render(conversation)
            self._push(due_ns, conversation)

    def _fill_ready(self, most: int = LOOKAHEAD_FLIGHTS) -> None:
        """Closed loop: keeps sessions rendered for the slots that fall free next."""
        while most > 0 and len(self._ready) < self._ready_wanted:
            if len(self._ready) >= LOOKAHEAD_FLIGHTS and self._ready_bytes > LOOKAHEAD_BYTES:
                return
            most -= 1
            session = self._next_session()
            if session is None:
                return
            conversation = Conversation(session, slot=True)
            self._ready.append(conversation)
            self._to_render(conversation)

    def _open_slot(self, due_ns: int) -> None:
        if not self._ready:
            self._fill_ready(1)
        if self._ready:
            conversation = self._ready.popleft()
            if conversation.flight is not None:
                self._ready_bytes -= len(conversation.flight.request)
            self._send(conversation, due_ns)

    def _render_next(self, conversation: Conversation) -> None:
        turn = conversation.turn
        assert turn is not None
        prompt = self._workload.prompt(turn)
        request_id = f"{self._run_tag}-{turn.index}"
        conversation.render(prompt, self._render, request_id, self._dialect)

    def _send(self, conversation: Conversation, due_ns: int) -> None:
        if conversation.flight is None:
            self._render_next(conversation)
        if conversation.next_turn == 0 and not conversation.slot:
            self._first_turns_waiting -= 1
        flight = conversation.take_flight()
        flight.worker = self._worker
        flight.intended_ns = due_ns
        counters = self.counters
        counters.due += 1
        cap = self._pace.max_concurrency
        if cap is not None and counters.running >= cap:
            self._drop(conversation, flight)
            return
        counters.running += 1
        counters.sent += 1
        assert self._transport is not None
        self._transport.submit(flight)

    def _drop(self, conversation: Conversation, flight: Flight) -> None:
        """No room under the cap: the turn and those that would have followed it are dropped."""
        due_ns = flight.intended_ns
        self._put(unsent(flight, Outcome.DROPPED, "no_room", due_ns))
        self._put_rest(conversation, Outcome.DROPPED, "earlier_turn_dropped", due_ns)

    def _give_up(self, conversation: Conversation, flight: Flight) -> None:
        """A turn that later ones quote has failed: they can't be asked any more."""
        at_ns = flight.done_ns or flight.intended_ns
        self._put_rest(conversation, Outcome.ABORTED, "earlier_turn_failed", at_ns)
        if conversation.slot:
            self._free_slot(flight, at_ns)

    def _free_slot(self, flight: Flight, at_ns: int) -> None:
        """Lets the slot take the next session: at once, or after a rest if nobody was there."""
        self._push(at_ns if flight.sent_ns is not None else at_ns + REST_NS, None)

    def _put_rest(
        self, conversation: Conversation, outcome: Outcome, error_class: str, at_ns: int
    ) -> None:
        for flight in conversation.rest():
            self.counters.due += 1
            flight.worker = self._worker
            self._put(unsent(flight, outcome, error_class, at_ns))

    def _put(self, exchange: Exchange) -> None:
        self.counters.count(exchange)
        self._sink.add(exchange)

    def _go_on(self, conversation: Conversation, flight: Flight) -> None:
        """Makes the session's next turn due, or its slot free."""
        done_ns = flight.done_ns or flight.intended_ns
        turn = conversation.turn
        if turn is None:
            if conversation.slot:
                self._free_slot(flight, done_ns)
            return
        due_ns = done_ns + round((turn.think_s or 0.0) * 1e9)
        if turn.at_s is not None and not conversation.slot:
            due_ns = max(due_ns, self.start_ns + round(turn.at_s * 1e9))
        self._order += 1
        heapq.heappush(self._later, (due_ns, self._order, conversation))
        self.look_ahead(done_ns)
