"""The columns of a run folder's parts.

History of the schema:
    1  first version.
    2  server_queue_s, server_prefill_s, server_decode_s, server_batch_mean.

A later version only adds nullable columns, so that parts of older ones are read.

Instants are int64 nanoseconds of CLOCK_MONOTONIC of the measuring host.  Token arrivals are lists,
one element for each token event of the request: `arrival_delta_ns[0]` counts from `sent_ns` (from
`intended_ns` where `sent_ns` is unknown), the others from the event before, so that they compress
well and sum to the arrival.

A column that can be unknown is nullable and null stands for unknown; the others always hold a
value.  The metadata of a requests part may hold `unfit`: a JSON object of column name to the number
of values that its type could not hold and that are null for that reason.
"""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 2


def _always(name: str, kind: pa.DataType) -> pa.Field:
    """A column that holds a value in every row."""
    return pa.field(name, kind, nullable=False)


REQUESTS = pa.schema(
    [
        _always("index", pa.int64()),
        _always("session", pa.int64()),
        _always("turn", pa.int32()),
        _always("worker", pa.int16()),
        _always("phase", pa.string()),
        _always("outcome", pa.string()),
        ("error_class", pa.string()),
        ("error_text", pa.string()),
        _always("intended_ns", pa.int64()),
        ("sent_ns", pa.int64()),
        ("headers_ns", pa.int64()),
        ("role_ns", pa.int64()),
        ("first_ns", pa.int64()),
        ("first_low_ns", pa.int64()),
        ("last_ns", pa.int64()),
        ("done_ns", pa.int64()),
        ("connect_s", pa.float64()),
        ("connection_requests", pa.int32()),
        _always("reconnects", pa.int16()),
        ("status", pa.int16()),
        ("finish_reason", pa.string()),
        ("retry_after_s", pa.float64()),
        ("planned_input_tokens", pa.int32()),
        ("planned_output_tokens", pa.int32()),
        ("prompt_tokens", pa.int32()),
        ("completion_tokens", pa.int32()),
        ("cached_tokens", pa.int32()),
        ("reasoning_tokens", pa.int32()),
        ("output_tokens", pa.int32()),
        ("token_method", pa.string()),
        ("first_token_rule", pa.string()),
        _always("uncertain_first", pa.bool_()),
        _always("events", pa.int32()),
        _always("reads", pa.int32()),
        _always("body_bytes", pa.int64()),
        _always("request_bytes", pa.int64()),
        ("rtt_s", pa.float32()),
        ("retransmits", pa.int32()),
        ("server_queue_s", pa.float64()),
        ("server_prefill_s", pa.float64()),
        ("server_decode_s", pa.float64()),
        ("server_batch_mean", pa.float64()),
        _always("arrival_delta_ns", pa.list_(pa.int64())),
        _always("tokens", pa.list_(pa.int32())),
    ],
    metadata={"schema": str(SCHEMA_VERSION)},
)

SERVER = pa.schema(
    [
        ("at_ns", pa.int64()),
        ("source", pa.string()),
        ("name", pa.string()),
        ("labels", pa.map_(pa.string(), pa.string())),
        ("value", pa.float64()),
    ],
    metadata={"schema": str(SCHEMA_VERSION)},
)

EVENTS = ("arrival_delta_ns", "tokens")
"""The columns with one element for each token event; every other column is a scalar."""

SCALARS = tuple(name for name in REQUESTS.names if name not in EVENTS)

CATEGORIES = (
    "phase",
    "outcome",
    "error_class",
    "finish_reason",
    "token_method",
    "first_token_rule",
)
"""Columns of few distinct words."""

REQUESTS_ENCODING = {
    "compression": "zstd",
    "compression_level": 1,
    "write_statistics": False,
    "write_page_checksum": True,
    "use_dictionary": [*CATEGORIES, "error_text", "tokens.list.element"],
    "column_encoding": {"arrival_delta_ns.list.element": "DELTA_BINARY_PACKED"},
}
"""How parts of requests are written.  At 200 tokens a request this takes 3.3 bytes a token, and
half the time of plain values to read; higher zstd levels write slower and gain nothing."""

SERVER_ENCODING = {
    "compression": "zstd",
    "compression_level": 1,
    "write_statistics": False,
    "write_page_checksum": True,
}
"""How parts of scrapes are written: every text column as a dictionary, pyarrow's default."""
