"""Each fault of the simulated server has its class, whichever transport meets it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.model import Exchange, Outcome, Timeouts, TokenMethod
from bench.sim.faults import KINDS, OF_THE_SERVER
from bench.sim.process import SimProcess

Replayed = Callable[..., Any]

FAULT = "x-sim-fault"
LIMITS = {
    "first_byte_timeout": Timeouts(20.0, first_byte_s=0.3, idle_s=20.0, total_s=20.0),
    "idle_timeout": Timeouts(20.0, first_byte_s=20.0, idle_s=0.5, total_s=20.0),
}

FAILURES = [
    ("reset_before_headers", "disconnected"),
    ("reset_mid_headers", "disconnected"),
    ("reset_mid_body", "disconnected_mid_body"),
    ("truncate", "disconnected_mid_body"),
    ("early_end", "truncated"),
    ("stall", "idle_timeout"),
    ("stall:after=0", "first_byte_timeout"),
    ("slow_first_byte:seconds=60", "first_byte_timeout"),
    ("redirect", "redirect"),
    ("endless", "runs_on"),
    ("text_line", "error_in_answer"),
    ("bad_json", "malformed_event"),
    ("error_event", "error_in_answer"),
    ("error_event, no_done", "error_in_answer"),
    ("zero_tokens", "empty"),
    *(
        (f"http_{status}", f"http_{status}")
        for status in (400, 401, 403, 404, 408, 413, 422, 429, 499, 500, 502, 503, 504)
    ),
    ("http_401_string", "http_401"),
    ("http_502_html", "http_502"),
    ("http_500_plain", "http_500"),
]
TOKENS_BEFORE = {"reset_mid_body", "truncate", "early_end", "stall", "text_line", "error_event"}
CLOSED = {
    "reset_before_headers", "reset_mid_headers", "reset_mid_body", "truncate", "stall",
    "slow_first_byte", "endless",
}  # fmt: skip


@pytest.mark.parametrize(("fault", "error_class"), FAILURES)
def test_a_fault_has_its_class(
    replayed: Replayed, sim: SimProcess, transport: str, fault: str, error_class: str
) -> None:
    """Both requests fail alike, with what came before kept, over no more connections than needed.

    A connection that is still good is used again; one that broke is not asked a second time.
    """
    limits = LIMITS.get(error_class)
    trial = replayed(transport, sim.url, 2, headers={FAULT: fault}, timeouts=limits)
    assert trial.classes == [error_class, error_class]
    assert trial.counters.failed_by_class == {error_class: 2}
    kind = fault.partition(":")[0].partition(",")[0]
    for exchange in trial.exchanges:
        assert exchange.outcome is Outcome.FAILED
        assert exchange.reconnects == 0
        assert exchange.error_text
        if kind in TOKENS_BEFORE and fault != "stall:after=0":
            assert sum(exchange.tokens) == 2
            assert exchange.first_ns is not None
        if error_class.startswith("http_"):
            assert f"http_{exchange.status}" == error_class
    assert trial.connections == (2 if kind in CLOSED else 1)


def test_retry_after_is_recorded(replayed: Replayed, sim: SimProcess, transport: str) -> None:
    """What an overloaded server asks for stands in the record; nothing is sent again."""
    trial = replayed(transport, sim.url, headers={FAULT: "http_429:retry_after=2"})
    assert (trial.one.error_class, trial.one.retry_after_s) == ("http_429", 2.0)
    assert trial.counters.sent == 1


def plain(exchange: Exchange) -> None:
    assert exchange.token_method is TokenMethod.USAGE_SPREAD
    assert exchange.role_ns is not None


def unstreamed(exchange: Exchange) -> None:
    assert (exchange.first_ns, exchange.token_method) == (None, None)


def counted_by_events(exchange: Exchange) -> None:
    assert (exchange.token_method, exchange.completion_tokens) == (TokenMethod.EVENTS, None)


def no_role(exchange: Exchange) -> None:
    assert exchange.role_ns is None


def in_few_events(exchange: Exchange) -> None:
    assert len(exchange.arrival_ns) == 2


def huge(exchange: Exchange) -> None:
    assert exchange.body_bytes > 10_000_000


ODDITIES = [
    ("", 6, plain),
    ("ignore_stream", 6, unstreamed),
    ("gzip", 6, plain),
    ("no_done", 6, plain),
    ("huge_event", 6, huge),
    ("split_utf8", 6, plain),
    ("empty_text", 6, plain),
    ("wrong_count", 13, plain),
    ("multi_token", 6, in_few_events),
    ("no_usage", 6, counted_by_events),
    ("usage_in_finish", 6, plain),
    ("double_role", 6, plain),
    ("no_role", 6, no_role),
    ("reasoning", 6, plain),
    ("reasoning_content", 6, plain),
    ("tool_calls", 6, plain),
    ("comments", 6, plain),
    ("crlf", 6, plain),
    ("event_lines", 6, plain),
    ("no_space", 6, plain),
    ("crlf, event_lines, gzip, split_utf8", 6, plain),
]


@pytest.mark.parametrize(("fault", "tokens", "also"), ODDITIES)
def test_an_oddity_is_no_failure(
    replayed: Replayed,
    sim: SimProcess,
    transport: str,
    fault: str,
    tokens: int,
    also: Callable[[Exchange], None],
) -> None:
    """The answer is good, its tokens are counted as the server tells, its connection kept."""
    trial = replayed(transport, sim.url, 2, headers={FAULT: fault} if fault else {})
    assert trial.classes == [None, None]
    for exchange in trial.exchanges:
        assert exchange.output_tokens == tokens
        assert exchange.first_ns is None or sum(exchange.tokens) == tokens
        assert exchange.status == 200
        also(exchange)
    assert trial.connections == 1


def test_a_connection_closed_while_idle_is_replaced_once(
    replayed: Replayed, sim: SimProcess, transport: str
) -> None:
    """A server that promised to keep a connection and did not costs no request."""
    trial = replayed(transport, sim.url, 5, headers={FAULT: "silent_close"})
    assert trial.counters.ok == 5
    assert all(exchange.reconnects <= 1 for exchange in trial.exchanges)
    assert trial.connections == 5


def test_the_order_of_instants(replayed: Replayed, sim: SimProcess, transport: str) -> None:
    """Intended, sent, head, first, last, done; and the first token was not there before."""
    trial = replayed(transport, sim.url, 20)
    for e in trial.exchanges:
        assert e.intended_ns <= e.sent_ns <= e.headers_ns <= e.role_ns <= e.first_ns
        assert e.first_ns <= e.last_ns <= e.done_ns
        assert e.first_low_ns <= e.first_ns
        assert list(e.arrival_ns) == sorted(e.arrival_ns)


def test_completions_have_no_role(replayed: Replayed, sim: SimProcess, transport: str) -> None:
    """The other endpoint, with token ids as the prompt."""
    trial = replayed(transport, sim.url, endpoint="completions", text=[1, 2, 3])
    assert (trial.one.role_ns, trial.one.output_tokens) == (None, 6)
    assert trial.one.prompt_tokens == 3


def test_the_document_has_each_fault_and_what_becomes_of_it() -> None:
    """docs/errors.md tells what the tests above hold, of every kind that the simulator knows."""
    document = (Path(__file__).parents[3] / "docs" / "errors.md").read_text(encoding="utf-8")
    section = document.partition("## Faults of the simulated server")[2].partition("\n## ")[0]
    told = dict(re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|$", section, re.MULTILINE))
    oddities = {fault: "ok" for fault, _, _ in ODDITIES if fault}
    assert told == {**dict(FAILURES), **oddities, "silent_close": "ok"}
    assert set(KINDS) - {fault.partition(":")[0] for fault in told} == set(OF_THE_SERVER)
