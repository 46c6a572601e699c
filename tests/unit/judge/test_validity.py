"""Each rule of validity, broken alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from bench.judge.judgement import judge
from bench.judge.validity import RULES

Make = Callable[..., Any]


def findings(run: Any, profile: Any = None) -> dict[str, dict[str, Any]]:
    verdict = judge(run, profile).verdict
    assert verdict["valid"] is not bool(verdict["reasons"])
    return {row["rule"]: row for row in verdict["validity"]}


def violated(run: Any, profile: Any = None) -> set[str]:
    return {name for name, row in findings(run, profile).items() if row["result"] == "violated"}


def fine(ok_row: Make, n: int = 200, **more: Any) -> list[dict[str, Any]]:
    return [ok_row(k / 10, **more) for k in range(n)]


def seconds(stall_s: float = 0.001, cpu: float = 0.1) -> list[dict[str, Any]]:
    return [
        {
            "event": "second",
            "at_ns": k * 10**9,
            "worker": 0,
            "stall_max_s": stall_s if k == 7 else 0.001,
            "cpu_s": cpu * k,
        }
        for k in range(20)
    ]


def test_a_run_with_nothing_wrong_is_valid(hand_run: Make, ok_row: Make) -> None:
    """Every rule but those that need a server's metrics or a plan is checked and kept."""
    rules = findings(hand_run(fine(ok_row), journal=seconds()))
    unknown = {name for name, row in rules.items() if row["result"] == "unknown"}
    assert unknown == {"server_restarts", "request_count", "cache_excess"}
    assert {row["result"] for name, row in rules.items() if name not in unknown} == {"ok"}
    assert len(rules) == len(RULES)


@pytest.mark.parametrize(
    "kind",
    ["torn_journal_lines", "damaged_parts", "duplicate_rows", "missing_scrapes", "cut_journal"],
)
def test_a_damaged_record_is_no_proof(hand_run: Make, ok_row: Make, kind: str) -> None:
    """What a folder has lost may be what spoke against the run."""
    assert violated(hand_run(fine(ok_row), defects={kind: 1})) == {"record"}


def test_late_sends(hand_run: Make, ok_row: Make, profile: Make) -> None:
    """2 % of sends 20 ms late make P99 of the lag 20 ms: over 5 ms."""
    rows = fine(ok_row)
    for row in rows[::50]:
        row["sent_s"] += 0.02
    assert violated(hand_run(rows)) == {"schedule_lag_p99"}


def test_lag_is_small_against_the_ttft_limit(hand_run: Make, ok_row: Make, profile: Make) -> None:
    """2 ms are fine alone, and not against a TTFT limit of 20 ms."""
    rows = fine(ok_row)
    for row in rows:
        row["sent_s"] += 0.002
    assert violated(hand_run(rows)) == set()
    rules = findings(hand_run(rows), profile(("ttft_s", "p99", 0.02)))
    assert rules["schedule_lag_p99"]["limit"] == pytest.approx(0.001)
    assert rules["schedule_lag_p99"]["result"] == "violated"


def test_planned_requests_that_were_not_sent(hand_run: Make, ok_row: Make) -> None:
    """2 % dropped at the cap: 98 % sent."""
    rows = fine(ok_row)
    rows[::50] = [{"intended_s": row["intended_s"], "outcome": "dropped"} for row in rows[::50]]
    rules = findings(hand_run(rows))
    assert rules["sent"]["value"] == pytest.approx(0.98)
    assert rules["sent"]["result"] == "violated"


def test_what_a_stopped_run_did_not_send_was_not_due(hand_run: Make, ok_row: Make) -> None:
    """A run that its stop condition ended half way is valid for what it measured."""
    rows = fine(ok_row)
    rows += [{"intended_s": 30.0, "outcome": "aborted"} for _ in range(100)]
    run = hand_run(rows, manifest={"workload": {"requests": 300}})
    run.end["reason"] = "stopped: error rate"
    assert violated(run) == set()


@pytest.mark.parametrize(
    ("made", "planned", "duration_s", "broken"),
    [
        (100, 300, None, True),
        (100, 101, None, False),
        (100, None, 60, True),
        (100, None, 10, False),
    ],
)
def test_who_stops_a_run_by_hand_gets_no_verdict(
    hand_run: Make, ok_row: Make, made: int, planned: Any, duration_s: Any, broken: bool
) -> None:
    """A third of the requests, or 10 s of 60: else one would stop when the numbers please."""
    workload, pace = {"requests": planned}, {"duration_s": duration_s}
    manifest = {"workload": workload, "load": {"pace": pace}}
    run = hand_run(fine(ok_row, made), manifest=manifest)
    run.end |= {"reason": "interrupted", "start_ns": 0, "end_ns": 10 * 10**9}
    assert violated(run) == ({"left_by_hand"} if broken else set())


@pytest.mark.parametrize(("error_class", "sent"), [("connect_refused", 1.0), ("no_socket", 0.9)])
def test_a_server_that_is_away_is_no_fault_of_the_client(
    hand_run: Make, ok_row: Make, error_class: str, sent: float
) -> None:
    """10 % of requests found nobody to connect to: they failed; without a socket none was sent."""
    rows = fine(ok_row)
    for row in rows[::10]:
        row |= {"sent_s": math.nan, "outcome": "failed", "error_class": error_class}
    assert findings(hand_run(rows))["sent"]["value"] == pytest.approx(sent)


def test_a_killed_run(hand_run: Make, ok_row: Make) -> None:
    """Without end.json nothing balances."""
    rules = findings(hand_run(fine(ok_row), end=None))
    assert rules["ended"]["result"] == "violated"
    assert rules["balance"]["result"] == "unknown"


@pytest.mark.parametrize("field", ["planned", "ok"])
def test_a_balance_that_is_off_by_one(hand_run: Make, ok_row: Make, field: str) -> None:
    """One request planned and not ended, or ended and not written, is one too many."""
    run = hand_run(fine(ok_row))
    run.end[field] += 1
    assert "balance" in violated(run)


def test_a_dead_worker(hand_run: Make, ok_row: Make) -> None:
    """What a dead process would have measured is missing."""
    run = hand_run(fine(ok_row))
    run.end["dead_workers"] = [1]
    assert violated(run) == {"workers_alive"}


def test_a_stalled_loop(hand_run: Make, ok_row: Make) -> None:
    """One second of the journal with a stall of 0.5 s."""
    assert violated(hand_run(fine(ok_row), journal=seconds(stall_s=0.5))) == {"loop_stall"}


def test_uncertain_first_tokens(hand_run: Make, ok_row: Make) -> None:
    """2 % of first tokens arrived nobody knows quite when."""
    rows = fine(ok_row)
    for row in rows[::50]:
        row["uncertain_first"] = True
    assert violated(hand_run(rows)) == {"uncertain_first_tokens"}


def test_a_busy_client(hand_run: Make, ok_row: Make) -> None:
    """0.95 s of CPU a second."""
    assert violated(hand_run(fine(ok_row), journal=seconds(cpu=0.95))) == {"client_cpu"}


def test_a_clock_that_was_set(hand_run: Make, ok_row: Make) -> None:
    """One step of the wall clock."""
    run = hand_run(fine(ok_row))
    run.end["client"]["workers"][0]["clock_steps"] = 1
    assert violated(run) == {"clock_steps"}


def test_a_client_without_sockets(hand_run: Make, ok_row: Make) -> None:
    """One request that found none, even before the window, is the client's fault."""
    rows = [{"intended_s": 0.0, "done_s": 0.0, "phase": "warmup", "outcome": "failed",
             "error_class": "no_socket"}, *fine(ok_row)]  # fmt: skip
    run = hand_run(rows)
    assert violated(run) == {"no_socket"}
    assert findings(run)["no_socket"]["value"] == 1
    rows[0]["error_class"] = "connect_failed"
    assert violated(hand_run(rows)) == set()


def test_a_restarted_server(hand_run: Make, ok_row: Make) -> None:
    """A counter that fell, although its later growth covers our requests."""
    counts = (0.0, 150.0, 10.0, 200.0)
    scrapes = [(6.0 * k, "vllm:request_success_total", v) for k, v in enumerate(counts)]
    assert violated(hand_run(fine(ok_row), scrapes=scrapes)) == {"server_restarts"}


@pytest.mark.parametrize(("counted", "bad"), [(200.0, False), (150.0, True), (400.0, False)])
def test_requests_the_server_did_not_count(
    hand_run: Make, ok_row: Make, counted: float, bad: bool
) -> None:
    """Fewer than ours is a server not seen whole; more is other traffic."""
    scrapes = [(0.0, "vllm:request_success_total", 7.0)]
    scrapes += [(30.0, "vllm:request_success_total", 7.0 + counted)]
    assert ("request_count" in violated(hand_run(fine(ok_row), scrapes=scrapes))) is bad


def test_output_lengths_not_as_asked(hand_run: Make, ok_row: Make, profile: Make) -> None:
    """5 tokens where 10 were asked; a profile may waive it where a server can't be told."""
    rows = fine(ok_row, planned_output_tokens=10)
    assert violated(hand_run(rows)) == {"output_length"}
    waived = findings(hand_run(rows), profile(validity={"waive_output_length": True}))
    assert waived["output_length"]["result"] == "waived"


def test_a_run_that_is_not_valid_gets_no_pass_and_no_fail(
    hand_run: Make, ok_row: Make, profile: Make
) -> None:
    """Limits met and missed are both withheld; the reason has a number and advice."""
    limits = profile(("ttft_s", "max", 9.0), ("ttft_s", "max", 0.001))
    verdict = judge(hand_run(fine(ok_row), end=None), limits).verdict
    assert verdict["verdict"] == "invalid"
    assert {row["result"] for row in verdict["limits"]} == {"undecided"}
    (reason,) = verdict["reasons"]
    assert (reason["rule"], reason["value"]) == ("ended", 1.0)
    assert reason["advice"]["zh"] and reason["advice"]["en"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rules_have_words_in_both_languages(rule: Any) -> None:
    """A title and an advice in Chinese and English."""
    for text in (rule.title, rule.advice):
        assert any("一" <= letter <= "鿿" for letter in text.zh)
        assert text.en.isascii() or "≠" in text.en


def test_a_profile_may_tighten(hand_run: Make, ok_row: Make, profile: Make) -> None:
    """A stall of 30 ms is over a limit of 20 ms."""
    run = hand_run(fine(ok_row), journal=seconds(stall_s=0.03))
    assert violated(run) == set()
    assert violated(run, profile(validity={"loop_stall_s": 0.02})) == {"loop_stall"}
    assert math.isfinite(findings(run)["loop_stall"]["value"])
