"""A session on its way: its next turn, and the answers that later turns quote."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bench.load.dialects.answer import Dialect
from bench.load.flight import Flight
from bench.model import Message, Prompt, Session, Turn

Render = Callable[[Turn, Prompt, str, int], bytes]
"""Turn, its whole prompt, its request id and its session's id to the bytes to send."""


class Conversation:
    """`slot`: it holds one of a closed loop's slots.  `flight`: its next turn, rendered already.

    `history` is None unless a turn quotes the answers before it; it holds the messages so far.
    """

    __slots__ = ("awaits_render", "flight", "history", "next_turn", "session", "slot")

    def __init__(self, session: Session, *, slot: bool = False) -> None:
        self.session = session
        self.slot = slot
        self.next_turn = 0
        self.awaits_render = False
        self.flight: Flight | None = None
        live = any(turn.appends for turn in session.turns)
        self.history: list[Message] | None = [] if live else None

    @property
    def turn(self) -> Turn | None:
        """The next turn; None when all have been taken."""
        turns = self.session.turns
        return turns[self.next_turn] if self.next_turn < len(turns) else None

    def take_flight(self) -> Flight:
        """A flight of the next turn, which is taken with it."""
        turn = self.session.turns[self.next_turn]
        flight = self.flight or Flight(turn, self.session.id, self.next_turn, "")
        self.flight = None
        self.next_turn += 1
        return flight

    def rest(self) -> Iterator[Flight]:
        """Flights of the turns that are left, for those that will not be sent."""
        self.flight = None
        while self.next_turn < len(self.session.turns):
            yield self.take_flight()

    def render(self, prompt: Prompt, render: Render, request_id: str, dialect: Dialect) -> None:
        """Makes the next turn ready to be sent; `prompt` is its own part of the content."""
        turn = self.session.turns[self.next_turn]
        flight = Flight(turn, self.session.id, self.next_turn, request_id, dialect)
        if self.history is not None:
            flight.answer.text = []
            prompt = self._said(turn, prompt)
        flight.follow_up = self
        flight.request = render(turn, prompt, request_id, self.session.id)
        self.awaits_render = False
        self.flight = flight

    def _said(self, turn: Turn, prompt: Prompt) -> list[Message]:
        """All that is said up to and with this turn."""
        assert self.history is not None
        if not turn.appends:
            self.history.clear()
        if isinstance(prompt, str):
            self.history.append({"role": "user", "content": prompt})
        else:
            self.history += [message for message in prompt if not isinstance(message, int)]
        return list(self.history)

    def hear(self, flight: Flight) -> None:
        """Keeps an answer that later turns quote."""
        assert self.history is not None
        self.history.append({"role": "assistant", "content": "".join(flight.answer.text or ())})
