"""Public traces, where they are beside the checkout, against their published numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.workload.fit import Fit, fit
from bench.workload.inspect import TraceStats, inspect
from bench.workload.readers import ReadOptions, read

RealTrace = Callable[[str], Path]


def stats(path: Path) -> TraceStats:
    return inspect(read(path))


def test_mooncake_conversation(real_trace: RealTrace) -> None:
    """12,031 rows, 144.79 M input tokens, ceilings 36.64 % and 37.36 %, times rounded to 3 s."""
    result = stats(real_trace("mooncake/conversation_trace.jsonl"))
    assert result.rows == 12_031
    assert result.times.duration_s == pytest.approx(3_536.999)
    assert result.input_tokens.total == 144_793_823
    assert (result.input_tokens.p50, result.output_tokens.p50) == (6_909, 350)
    assert result.ceiling_blocks == pytest.approx(0.3664, abs=5e-5)
    assert result.ceiling_tokens == pytest.approx(0.3736, abs=5e-5)
    assert result.times.zero_gap_fraction == pytest.approx(0.902, abs=5e-4)
    assert result.times.dispersion[1] == pytest.approx(7.9, abs=0.05)
    assert result.times.quantum_s == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize(("rows", "ceiling"), [(100, 0.033), (1000, 0.216), (3000, 0.320)])
def test_a_slice_of_mooncake_has_its_own_ceiling(
    real_trace: RealTrace, rows: int, ceiling: float
) -> None:
    """The first 100, 1,000 and 3,000 requests share 3.3, 21.6 and 32.0 % of their tokens."""
    reading = read(real_trace("mooncake/conversation_trace.jsonl"))
    result = inspect(fit(reading, Fit(limit=rows)))
    assert result.rows == rows
    assert result.ceiling_tokens == pytest.approx(ceiling, abs=5e-4)


def test_scaling_mooncake_keeps_its_sharing(real_trace: RealTrace) -> None:
    """At a tenth of its lengths the block ceiling is the same, the token ceiling within 0.1 %."""
    reading = read(real_trace("mooncake/conversation_trace.jsonl"))
    result = inspect(fit(reading, Fit(scale_input=0.1)))
    assert result.block_tokens == 51
    assert result.ceiling_blocks == pytest.approx(0.3664, abs=5e-5)
    assert result.ceiling_tokens == pytest.approx(0.3736, abs=1e-3)


def test_mooncake_arxiv_slice_begins_at_zero(real_trace: RealTrace) -> None:
    """15 rows cut from t = 1,178,625 ms begin at 0."""
    rows = list(read(real_trace("format_samples/mooncake_arxiv_slice.jsonl")))
    assert (len(rows), rows[0].at_s) == (15, 0.0)


def test_azure_code(real_trace: RealTrace) -> None:
    """8,819 rows in 3,435.9 s, CV 13.15, dispersion 13, 72 and 164, as far as the last row."""
    result = stats(real_trace("azure/AzureLLMInferenceTrace_code.csv"))
    assert result.rows == 8_819
    assert result.times.duration_s == pytest.approx(3_435.9, abs=0.1)
    assert result.times.iat_cv == pytest.approx(13.15, abs=0.005)
    dispersion = [round(value or 0) for value in result.times.dispersion.values()]
    assert dispersion == [13, 72, 164]
    assert result.input_tokens.max == 7_437
    assert result.ceiling_tokens is None


def test_burstgpt_samples(real_trace: RealTrace) -> None:
    """Both layouts begin at 0 and give the same fields; only the third has sessions."""
    first = list(read(real_trace("burstgpt/BurstGPT_1.first5rows.csv")))
    third = list(read(real_trace("burstgpt/BurstGPT_3.first4rows.csv")))
    assert [row.at_s for row in first] == [0, 40, 113, 180, 209]
    assert [row.at_s for row in third] == [0, 51, 82, 144]
    assert all(row.session is None for row in first)
    assert len({row.session for row in third}) == 4


def test_bailian_sample(real_trace: RealTrace) -> None:
    """502 tokens are 32 blocks of 16."""
    (row,) = read(real_trace("format_samples/qwen_thinking.first1row.jsonl"))
    assert (row.input_tokens, len(row.block_ids or ())) == (502, 32)


def test_weka_sessions(real_trace: RealTrace) -> None:
    """12 sessions of 258 requests, under the floor rule without a bad row, share over 90 %."""
    result = stats(real_trace("weka_kv_cache_tester/traces"))
    assert (result.sessions, result.rows) == (12, 258)
    assert result.ceiling_tokens is not None
    assert result.ceiling_tokens > 0.9


def test_mlperf_agentic(real_trace: RealTrace) -> None:
    """2,014 messages are 1,007 requests in 20 conversations."""
    result = stats(real_trace("mlperf_agentic/agentic_coding_2.5h.jsonl"))
    assert (result.rows, result.sessions) == (1_007, 20)


def test_lmbenchmark(real_trace: RealTrace) -> None:
    """252 prompts with text and output lengths."""
    rows = list(read(real_trace("sharegpt_lmbenchmark/run.json")))
    assert len(rows) == 252
    assert all(row.messages and row.output_tokens for row in rows)


def test_servegen_multimodal(real_trace: RealTrace) -> None:
    """The first hour of mm-image is generated at its recorded mean rate, within 10 %."""
    path = real_trace("servegen/multimodal/mm-image")
    clients_rps = 0.0
    for trace in path.glob("chunk-*-trace.csv"):
        windows = [line.split(",") for line in trace.read_text().splitlines()[:6]]
        clients_rps += sum(float(window[1]) for window in windows) / 6
    rows = list(read(path, options=ReadOptions(duration_s=3600)))
    assert len(rows) / 3600 == pytest.approx(clients_rps, rel=0.1)
