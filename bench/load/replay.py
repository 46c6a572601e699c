"""The replay loop: which turn is due when, for open and closed loops alike.

It knows no sockets.  A transport calls `release` when time has come, `ended` when the last byte
of an answer is there, and `recorded` when it has been decoded.
"""

from __future__ import annotations

import heapq
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from bench.load.conclude import conclude
from bench.load.flight import Flight
from bench.load.pace import SLOT_STEP_S, Counters, Pace
from bench.model import Exchange, Message, Outcome, Phase, Prompt, Session, Turn, Workload

LOOKAHEAD_NS = 2_000_000_000
LOOKAHEAD_FLIGHTS = 256

Render = Callable[[Turn, Prompt, str], bytes]
"""Turn, its whole prompt and its request id to the bytes to send."""


class Transport(Protocol):
    def submit(self, flight: Flight) -> None:
        """Sends the flight's request as soon as the transport can."""

    def abort(self) -> None:
        """Ends every flight at once; each is still reported through `ended` and `recorded`."""


class Sink(Protocol):
    def add(self, exchange: Exchange) -> None:
        """Takes one finished exchange; must not block."""


class _Conversation:
    """A session on its way: its next turn, and the answers that later turns build on."""

    __slots__ = ("awaits_render", "flight", "history", "next_turn", "session", "slot")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.next_turn = 0
        self.slot = False
        self.awaits_render = False
        self.flight: Flight | None = None
        live = any(turn.appends for turn in session.turns)
        self.history: list[Message] | None = [] if live else None


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
    ) -> None:
        self._workload = workload
        self._sessions: Iterator[Session] = workload.sessions()
        self._pace = pace
        self._render = render
        self._sink = sink
        self._run_tag = run_tag
        self._worker = worker
        self._transport: Transport | None = None
        self._heap: list[tuple[int, int, _Conversation | None]] = []
        self._later: list[tuple[int, int, _Conversation]] = []
        self._first_turns_waiting = 0
        self._order = 0
        self._unrendered: deque[_Conversation] = deque()
        self._ready: deque[_Conversation] = deque()
        self._upcoming: Session | None = None
        self._exhausted = False
        self._stop_ns: int | None = None
        self._stopped = False
        self._interrupted = False
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
        """No more sends; what is in flight goes on.  What was planned counts as aborted."""
        if not self._stopped:
            self._interrupted = True
            self._stop_sending(now_ns)

    def _stop_sending(self, now_ns: int) -> None:
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
        """Sends every turn that is due."""
        heap = self._heap
        if self._stopped:
            return
        while heap and heap[0][0] <= now_ns:
            due_ns, _, conversation = heap[0]
            if self._stop_ns is not None and due_ns >= self._stop_ns:
                break
            heapq.heappop(heap)
            if conversation is None:
                self._open_slot(due_ns)
            else:
                self._send(conversation, due_ns)
        self.look_ahead(now_ns)
        if self._stop_ns is not None and now_ns >= self._stop_ns:
            self._stop_sending(now_ns)

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
                self._render_next(conversation)
                return True
        if self._pace.concurrency is not None and len(self._ready) < self._ready_wanted:
            self._fill_ready(1)
            return bool(self._unrendered)
        return False

    # -- answers ---------------------------------------------------------------------------

    def ended(self, flight: Flight) -> None:
        """The answer's last byte is there: frees its slot, makes the next turn due."""
        self.counters.running -= 1
        self._pending_records += 1
        conversation = flight.follow_up
        if isinstance(conversation, _Conversation) and conversation.history is None:
            self._go_on(conversation, flight)

    def recorded(self, flight: Flight) -> None:
        """The answer has been decoded: hands its record to the sink."""
        exchange = conclude(flight)
        self._pending_records -= 1
        self._count(exchange)
        conversation = flight.follow_up
        if isinstance(conversation, _Conversation) and conversation.history is not None:
            text = "".join(flight.answer.text or ())
            conversation.history.append({"role": "assistant", "content": text})
            if exchange.outcome is Outcome.OK:
                self._go_on(conversation, flight)
            else:
                self._give_up(conversation, flight)
        self._sink.add(exchange)

    # -- inside ----------------------------------------------------------------------------

    def _to_render(self, conversation: _Conversation) -> None:
        conversation.awaits_render = True
        self._unrendered.append(conversation)

    def _push(self, due_ns: int, conversation: _Conversation | None) -> None:
        self._order += 1
        heapq.heappush(self._heap, (due_ns, self._order, conversation))

    def _next_session(self) -> Session | None:
        session = next(self._sessions, None)
        if session is None:
            self._exhausted = True
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
            conversation = _Conversation(session)
            self._first_turns_waiting += 1
            self._to_render(conversation)
            self._push(due_ns, conversation)

    @property
    def _ready_wanted(self) -> int:
        return 0 if self._exhausted else min(self._pace.concurrency or 0, LOOKAHEAD_FLIGHTS)

    def _fill_ready(self, most: int = LOOKAHEAD_FLIGHTS) -> None:
        """Closed loop: keeps sessions rendered for the slots that fall free next."""
        while most > 0 and len(self._ready) < self._ready_wanted:
            most -= 1
            session = self._next_session()
            if session is None:
                return
            conversation = _Conversation(session)
            conversation.slot = True
            self._ready.append(conversation)
            self._to_render(conversation)

    def _open_slot(self, due_ns: int) -> None:
        if not self._ready:
            self._fill_ready(1)
        if self._ready:
            self._send(self._ready.popleft(), due_ns)

    def _render_next(self, conversation: _Conversation) -> Flight:
        conversation.awaits_render = False
        turn = conversation.session.turns[conversation.next_turn]
        prompt = self._workload.prompt(turn)
        if conversation.history is not None:
            prompt = self._with_history(conversation.history, turn, prompt)
        request_id = f"{self._run_tag}-{turn.index}"
        flight = Flight(turn, conversation.session.id, conversation.next_turn, request_id)
        flight.worker = self._worker
        flight.follow_up = conversation
        flight.request = self._render(turn, prompt, request_id)
        if conversation.history is not None:
            flight.answer.text = []
        conversation.flight = flight
        return flight

    @staticmethod
    def _with_history(history: list[Message], turn: Turn, prompt: Prompt) -> Prompt:
        messages: list[Message]
        if isinstance(prompt, str):
            messages = [{"role": "user", "content": prompt}]
        else:
            messages = [message for message in prompt if not isinstance(message, int)]
        if not turn.appends:
            history.clear()
        history.extend(messages)
        return list(history)

    def _send(self, conversation: _Conversation, due_ns: int) -> None:
        flight = conversation.flight or self._render_next(conversation)
        conversation.flight = None
        if conversation.next_turn == 0 and not conversation.slot:
            self._first_turns_waiting -= 1
        conversation.next_turn += 1
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

    def _drop(self, conversation: _Conversation, flight: Flight) -> None:
        """No room under the cap: the turn and those that would have followed it are dropped."""
        self._put_unsent(flight, Outcome.DROPPED, "no_room", flight.intended_ns)
        for turn in conversation.session.turns[conversation.next_turn :]:
            self.counters.due += 1
            later = Flight(turn, flight.session, conversation.next_turn, "")
            conversation.next_turn += 1
            self._put_unsent(later, Outcome.DROPPED, "earlier_turn_dropped", flight.intended_ns)

    def _give_up(self, conversation: _Conversation, flight: Flight) -> None:
        """A turn that later ones quote has failed: they can't be asked any more."""
        turns = conversation.session.turns
        at_ns = flight.done_ns or flight.intended_ns
        while conversation.next_turn < len(turns):
            self.counters.due += 1
            later = Flight(
                turns[conversation.next_turn], flight.session, conversation.next_turn, ""
            )
            conversation.next_turn += 1
            self._put_unsent(later, Outcome.ABORTED, "earlier_turn_failed", at_ns)
        if conversation.slot:
            self._push(at_ns, None)

    def _put_unsent(self, flight: Flight, outcome: Outcome, why: str, at_ns: int) -> None:
        turn = flight.turn
        exchange = Exchange(
            index=turn.index,
            session=flight.session,
            turn=flight.turn_number,
            worker=self._worker,
            phase=turn.phase,
            outcome=outcome,
            intended_ns=at_ns,
            error_class=why,
            planned_input_tokens=turn.input_tokens,
            planned_output_tokens=turn.output_tokens,
            arrival_ns=array("q"),
            tokens=array("i"),
        )
        self._count(exchange)
        self._sink.add(exchange)

    def _go_on(self, conversation: _Conversation, flight: Flight) -> None:
        """Makes the session's next turn due, or its slot free."""
        done_ns = flight.done_ns or flight.intended_ns
        turns = conversation.session.turns
        if conversation.next_turn >= len(turns):
            if conversation.slot:
                self._push(done_ns, None)
            return
        turn = turns[conversation.next_turn]
        due_ns = done_ns + round((turn.think_s or 0.0) * 1e9)
        if turn.at_s is not None and not conversation.slot:
            due_ns = max(due_ns, self.start_ns + round(turn.at_s * 1e9))
        self._order += 1
        heapq.heappush(self._later, (due_ns, self._order, conversation))
        self.look_ahead(done_ns)

    def _count(self, exchange: Exchange) -> None:
        counters = self.counters
        match exchange.outcome:
            case Outcome.OK:
                counters.ok += 1
            case Outcome.FAILED:
                counters.failed += 1
                by_class = counters.failed_by_class
                name = exchange.error_class or "unknown"
                by_class[name] = by_class.get(name, 0) + 1
            case Outcome.DROPPED:
                counters.dropped += 1
            case Outcome.ABORTED:
                counters.aborted += 1
        counters.reads += exchange.reads
        counters.output_tokens += exchange.output_tokens or 0
        counters.reconnects += exchange.reconnects
        counters.uncertain_first += exchange.uncertain_first
        if exchange.sent_ns is not None:
            counters.lag_max_ns = max(counters.lag_max_ns, exchange.sent_ns - exchange.intended_ns)
        if exchange.first_ns is not None and exchange.phase is Phase.MAIN:
            counters.ttft_s.append((exchange.first_ns - exchange.intended_ns) / 1e9)
