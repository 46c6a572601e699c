"""What a finished flight amounts to: its error class, its token account, its record."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from statistics import fmean

from bench.load.body import printable
from bench.load.dialects.account import TokenAccount
from bench.load.dialects.answer import Answer
from bench.load.flight import Flight
from bench.load.sse import StrayText
from bench.model import Exchange, Outcome

UNCERTAIN_NS = 1_000_000
"""A first token is uncertain when its arrival is only known to lie in a wider interval."""


def conclude(flight: Flight) -> Exchange:
    """The finished record.  Call once, when the transport is through with the flight."""
    if flight.aborted:
        flight.fail("cut")
    if flight.status is None:
        flight.fail("disconnected")
    elif flight.error_class is not None:
        flight.decode()  # what came before the end is kept, and not judged
    elif flight.status == 200 and flight.streamed:
        _judge_stream(flight)
    else:
        _judge_body(flight, flight.status)
    account = flight.answer.account()
    if flight.error_class is None and not account.output_tokens:
        flight.fail("empty", "the answer held no token")
    return _exchange(flight, account)


def _judge_stream(flight: Flight) -> None:
    answer, tail = flight.answer, flight.rest()
    well_formed = answer.malformed is None
    try:
        payload = None if b"data:".startswith(tail) else flight.dialect.framing.last(tail)
    except StrayText as stray:
        flight.fail("error_in_answer", printable(stray.text))
    else:
        if payload is not None:
            answer.feed([payload], [0], [flight.last_read_ns], [flight.last_low_ns])
    if well_formed and answer.malformed is not None:
        flight.fail("truncated", "the stream ended inside an event")
    _judge_answer(flight, answer)


def _judge_body(flight: Flight, status: int) -> None:
    body = flight.rest()
    if 300 <= status < 400:
        flight.fail("redirect", f"status {status}")
    elif status != 200:
        flight.fail(f"http_{status}", printable(body))
    elif b"json" not in flight.content_type and body[:1] != b"{":
        flight.fail("not_json", printable(body))
    else:
        flight.answer.read_body(body)
        if flight.answer.malformed is not None:
            flight.fail("not_json", printable(body))
        _judge_answer(flight, flight.answer)


def _judge_answer(flight: Flight, answer: Answer) -> None:
    if answer.error is not None:
        flight.fail("error_in_answer", str(answer.error))
    elif answer.malformed is not None:
        flight.fail("malformed_event", printable(answer.malformed))
    elif not answer.done and answer.finish_reason is None:
        flight.fail("truncated", "the answer ended without a finish reason or [DONE]")
    elif answer.finish_reason in ("abort", "error"):
        flight.fail("error_in_answer", f"finish_reason {answer.finish_reason}")


def _exchange(flight: Flight, account: TokenAccount) -> Exchange:
    answer = flight.answer
    arrival = account.arrival_ns
    first_ns = arrival[0] if arrival else None
    low_ns = account.first_low_ns
    uncertain = (
        first_ns is not None
        and low_ns is not None
        and account.first_read_shared
        and first_ns - low_ns > UNCERTAIN_NS
    )
    outcome = Outcome.OK if flight.error_class is None else Outcome.FAILED
    return Exchange(
        index=flight.turn.index,
        session=flight.session,
        turn=flight.turn_number,
        worker=flight.worker,
        phase=flight.turn.phase,
        outcome=Outcome.ABORTED if flight.aborted else outcome,
        intended_ns=flight.intended_ns,
        error_class=flight.error_class,
        error_text=flight.error_text,
        sent_ns=flight.sent_ns,
        headers_ns=flight.headers_ns,
        role_ns=answer.role_ns,
        first_ns=first_ns,
        first_low_ns=low_ns,
        last_ns=arrival[-1] if arrival else None,
        done_ns=flight.done_ns,
        connect_s=None if flight.connect_ns is None else flight.connect_ns / 1e9,
        connection_requests=flight.connection_requests,
        reconnects=flight.reconnects,
        status=flight.status,
        finish_reason=answer.finish_reason,
        retry_after_s=retry_after_s(flight.retry_after),
        planned_input_tokens=flight.turn.input_tokens,
        planned_output_tokens=flight.turn.output_tokens,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        cached_tokens=answer.cached_tokens,
        reasoning_tokens=answer.reasoning_tokens,
        output_tokens=account.output_tokens,
        token_method=account.method,
        first_token_rule=account.rule,
        uncertain_first=uncertain,
        events=answer.events,
        reads=flight.reads,
        body_bytes=flight.body.size_bytes,
        request_bytes=len(flight.request),
        rtt_s=None if flight.rtt_ns is None else flight.rtt_ns / 1e9,
        retransmits=flight.retransmits,
        server_queue_s=answer.queue_s,
        server_prefill_s=answer.prefill_s,
        server_decode_s=answer.decode_s,
        server_batch_mean=fmean(answer.batch_sizes) if answer.batch_sizes else None,
        arrival_ns=arrival,
        tokens=account.tokens,
    )


def unsent(flight: Flight, outcome: Outcome, error_class: str, at_ns: int) -> Exchange:
    """The record of a planned request that was never sent, decided at `at_ns`."""
    flight.fail(error_class)
    return Exchange(
        index=flight.turn.index,
        session=flight.session,
        turn=flight.turn_number,
        worker=flight.worker,
        phase=flight.turn.phase,
        outcome=outcome,
        intended_ns=at_ns,
        error_class=flight.error_class,
        planned_input_tokens=flight.turn.input_tokens,
        planned_output_tokens=flight.turn.output_tokens,
    )


def retry_after_s(value: bytes | None) -> float | None:
    """Seconds of a Retry-After header: a whole number or an HTTP date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
