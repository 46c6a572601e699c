"""The columns of a run folder's parts.

History of the schema:
    1  first version.

Instants are int64 nanoseconds of CLOCK_MONOTONIC of the measuring host.  Token arrivals are lists,
one element for each token event of the request: `arrival_delta_ns[0]` counts from `sent_ns`, the
others from the event before, so that they compress well and sum to the arrival.
"""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 1

REQUESTS = pa.schema(
    [
        ("index", pa.int64()),
        ("session", pa.int64()),
        ("turn", pa.int32()),
        ("worker", pa.int16()),
        ("phase", pa.string()),
        ("outcome", pa.string()),
        ("error_class", pa.string()),
        ("error_text", pa.string()),
        ("intended_ns", pa.int64()),
        ("sent_ns", pa.int64()),
        ("headers_ns", pa.int64()),
        ("role_ns", pa.int64()),
        ("first_ns", pa.int64()),
        ("first_low_ns", pa.int64()),
        ("last_ns", pa.int64()),
        ("done_ns", pa.int64()),
        ("connect_s", pa.float64()),
        ("connection_requests", pa.int32()),
        ("reconnects", pa.int16()),
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
        ("uncertain_first", pa.bool_()),
        ("events", pa.int32()),
        ("reads", pa.int32()),
        ("body_bytes", pa.int64()),
        ("request_bytes", pa.int64()),
        ("rtt_s", pa.float32()),
        ("retransmits", pa.int32()),
        ("arrival_delta_ns", pa.list_(pa.int64())),
        ("tokens", pa.list_(pa.int32())),
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
