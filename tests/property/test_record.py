"""Properties of the run folder."""

from __future__ import annotations

import json
import tempfile
from array import array
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.model import Exchange, Manifest, Outcome, Phase
from bench.record.folder import RunFolder
from bench.record.frame import open_run
from bench.record.redact import redact

UPTIME_NS = 2**53 + 1

gaps = st.lists(st.integers(0, 10**12), max_size=12)
rows = st.lists(st.tuples(st.booleans(), st.integers(0, 10**9), gaps), max_size=12)
SECRET = "s3cret-value"
texts = st.text(max_size=8) | st.sampled_from(
    [SECRET, f"x{SECRET}y", f"http://{SECRET}@h/", f"?key={SECRET}"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


def exchange(index: int, was_sent: bool, lag_ns: int, gaps_ns: list[int]) -> Exchange:
    """An exchange whose events follow its start by `gaps_ns`."""
    intended_ns = UPTIME_NS + index * 7
    sent_ns = intended_ns + lag_ns if was_sent else None
    arrivals = np.cumsum([intended_ns + lag_ns, *gaps_ns])[1:]
    return Exchange(
        index=index,
        session=0,
        turn=index,
        worker=0,
        phase=Phase.MAIN,
        outcome=Outcome.OK,
        intended_ns=intended_ns,
        sent_ns=sent_ns,
        arrival_ns=array("q", arrivals.tolist()),
        tokens=array("i", range(len(gaps_ns))),
    )


@given(rows=rows, splits=st.sets(st.integers(0, 11)))
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read(rows: list[tuple[bool, int, list[int]]], splits: set[int]) -> None:
    """However the rows are spread over flushes, every instant comes back to the nanosecond."""
    written = [exchange(index, *row) for index, row in enumerate(rows)]
    manifest = Manifest("", "", "1", (), {}, {}, {}, {}, {}, {}, None, {})
    with tempfile.TemporaryDirectory() as base:
        folder = RunFolder.create(Path(base), "property", manifest)
        folder.journal("start", start_ns=UPTIME_NS)
        parts = folder.sink().open(0)
        for one in written:
            parts.add(one)
            if one.index in splits:
                parts.flush()
        parts.close()
        run = open_run(folder.path)
        frame = run.requests
        arrivals: dict[int, list[int]] = {}
        tokens: dict[int, list[int]] = {}
        for batch in run.token_events():
            for place, row in enumerate(batch.rows.tolist()):
                span = slice(batch.offsets[place], batch.offsets[place + 1])
                arrivals[row] = np.rint(batch.arrival_s[span] * 1e9).astype(int).tolist()
                tokens[row] = batch.tokens[span].tolist()
        assert run.defects == {}
    assert frame["index"].tolist() == [one.index for one in written]
    for one, sent_s in zip(written, frame["sent_s"], strict=True):
        assert arrivals[one.index] == [at_ns - UPTIME_NS for at_ns in one.arrival_ns]
        assert tokens[one.index] == one.tokens.tolist()
        assert np.isnan(sent_s) == (one.sent_ns is None)
        if one.sent_ns is not None:
            assert round(sent_s * 1e9) == one.sent_ns - UPTIME_NS


@given(value=values)
@settings(max_examples=200, deadline=None)
def test_a_known_secret_never_survives(value: Any) -> None:
    """However a secret is nested among values, no copy without it is left; other values stay."""
    clean = redact(value, [SECRET])
    assert SECRET not in json.dumps(clean)
    assert redact(clean, [SECRET]) == clean
