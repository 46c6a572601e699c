"""What tells whether the client measured right: its schedule, its balance, its own load.

Each measure is None (or NaN) where its inputs are absent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from bench.judge.contamination import contamination
from bench.judge.metric import column, outcome_is
from bench.judge.profile import ValidityLimits
from bench.judge.server_view import ServerView
from bench.judge.stats import Flags, quantiles
from bench.judge.window import Window

NO_SOCKET = "no_socket"
"""The class of a failure that is the client's own."""

INTERRUPTED = "interrupted"
"""The reason in end.json of a run that was stopped by hand."""

_NS_PER_S = 1e9


@dataclass(frozen=True, slots=True, eq=False)
class Client:
    """What the rules look at.

    `requests` are all rows of the run with the request metrics; `in_window` marks those that are
    judged.  `end` is None for a run that was killed.  `start_ns` is the run's start on the clock of
    the journal's `at_ns`; `server` is seen over the whole run; `workload` is the manifest's;
    `duration_s` how long the plan was to send, where that bounds it.  `defects`: what is damaged in
    the run folder, by kind.
    """

    requests: pd.DataFrame
    in_window: Flags
    window: Window
    journal: Sequence[Mapping[str, Any]]
    end: Mapping[str, Any] | None
    start_ns: int
    server: ServerView
    limits: ValidityLimits
    workload: Mapping[str, Any]
    ttft_limit_s: float | None = None
    duration_s: float | None = None
    defects: Mapping[str, int] = field(default_factory=dict)

    @property
    def seconds(self) -> list[Mapping[str, Any]]:
        """The journal's seconds that lie in the window."""
        return [
            line
            for line in self.journal
            if line.get("event") == "second"
            and self.window.start_s
            <= (line["at_ns"] - self.start_ns) / _NS_PER_S
            <= self.window.end_s + 1
        ]


def lag_p99_s(client: Client) -> float | None:
    lags = column(client.requests, "schedule_lag_s")[client.in_window]
    return quantiles(lags, [0.99])[0]


def lag_limit_s(client: Client) -> float:
    limits = client.limits
    relative = math.inf
    if client.ttft_limit_s is not None:
        relative = limits.schedule_lag_of_ttft_fraction * client.ttft_limit_s
    return min(limits.schedule_lag_p99_s, relative)


def sent_fraction(client: Client) -> float | None:
    """Of those that came due; what a run's end left unsent was not due.

    A request that found nobody to connect to was sent as far as the client can: that it failed is
    the server's doing.
    """
    sent = ~np.isnan(column(client.requests, "sent_s"))
    own_lack = (client.requests["error_class"] == NO_SOCKET).to_numpy(np.bool_)
    tried = sent | (outcome_is(client.requests, "failed") & ~own_lack)
    due = tried | ~outcome_is(client.requests, "aborted")
    return float(tried.sum() / due.sum()) if due.any() else None


def left_by_hand(client: Client) -> float | None:
    """How much of the plan was left when the run was stopped by hand, by requests or by time.

    Who stops when he likes what he sees finds what he likes.  0 for a run that ended otherwise.
    """
    end = client.end
    if end is None:
        return None
    if end.get("reason") != INTERRUPTED:
        return 0.0
    planned = client.workload.get("requests")
    if planned:
        return 1 - float((~np.isnan(column(client.requests, "sent_s"))).sum()) / float(planned)
    if client.duration_s:
        made_s = float(end["end_ns"] - end["start_ns"]) / _NS_PER_S
        return max(0.0, 1 - made_s / client.duration_s)
    return 1.0


def unaccounted(client: Client) -> float | None:
    """Planned requests without an end, and ends without a row; a killed run has no balance."""
    end = client.end
    if end is None:
        return None
    accounted = end["ok"] + sum(end["failed"].values()) + end["dropped"] + end["aborted"]
    rows = {
        "ok": end["ok"],
        "failed": sum(end["failed"].values()),
        "dropped": end["dropped"],
    }
    missing = sum(
        abs(count - int(outcome_is(client.requests, outcome).sum()))
        for outcome, count in rows.items()
    )
    return float(abs((end["planned"] or accounted) - accounted) + missing)


def without_end(client: Client) -> float | None:
    return float(client.end is None)


def damage(client: Client) -> float | None:
    """Files and rows that are damaged, doubled or missing, as far as no other rule counts them.

    A killed run has no end to hold its files against, and may have cut its last line.
    """
    kinds = ("torn_journal_lines", "damaged_parts", "duplicate_rows", "missing_scrapes")
    found = sum(client.defects.get(kind, 0) for kind in (*kinds, "cut_journal"))
    return None if client.end is None else float(found)


def dead_workers(client: Client) -> float | None:
    return None if client.end is None else float(len(client.end.get("dead_workers", ())))


def stall_s(client: Client) -> float | None:
    stalls = [line["stall_max_s"] for line in client.seconds if "stall_max_s" in line]
    if not stalls:
        stalls = [w["loop_stall_max_s"] for w in _workers(client) if "loop_stall_max_s" in w]
    return max(stalls, default=None)


def uncertain_fraction(client: Client) -> float | None:
    first = ~np.isnan(column(client.requests, "first_s")) & client.in_window
    uncertain = client.requests["uncertain_first"].to_numpy(np.bool_)
    return float(uncertain[first].mean()) if first.any() else None


def cpu_fraction(client: Client) -> float | None:
    """The busiest worker's share of its core, over the window where the journal covers it."""
    busy = []
    workers: dict[int, list[Mapping[str, Any]]] = {}
    for line in client.seconds:
        if line.get("cpu_s") is not None:
            workers.setdefault(line.get("worker", 0), []).append(line)
    for lines in workers.values():
        wall_s = (lines[-1]["at_ns"] - lines[0]["at_ns"]) / _NS_PER_S
        if wall_s > 0:
            busy.append((lines[-1]["cpu_s"] - lines[0]["cpu_s"]) / wall_s)
    if not busy:
        known = [w for w in _workers(client) if w.get("cpu_s") is not None and w.get("wall_s")]
        busy = [w["cpu_s"] / w["wall_s"] for w in known]
    return max(busy, default=None)


def clock_steps(client: Client) -> float | None:
    told = [worker["clock_steps"] for worker in _workers(client) if "clock_steps" in worker]
    events = sum(line.get("event") == "clock_step" for line in client.journal)
    if not told and not events:
        return None
    return float(max(sum(told), events))


def without_socket(client: Client) -> float | None:
    """Requests of the whole run, since one outside the window tells of the same machine."""
    classes = client.requests["error_class"]
    return float((classes == NO_SOCKET).sum()) if len(classes) else None


def restarts(client: Client) -> float | None:
    found = client.server.restarts()
    return None if found is None else float(found)


def missing_at_server(client: Client) -> float | None:
    """Requests that ended well for us and that the server did not count; more is other traffic."""
    counted = client.server.increase("requests_finished").value
    ours = int(outcome_is(client.requests, "ok").sum())
    if counted is None or not ours:
        return None
    return max(0.0, 1 - counted / ours)


def other_traffic_tokens(client: Client) -> float | None:
    """Prompt tokens the server took beyond what this run sent; None where it does not tell.

    A request whose prompt was not stated is taken to be as long as the others.
    """
    counted = client.server.increase("prompt_tokens").value
    prompts = column(client.requests, "prompt_tokens")
    known = ~np.isnan(prompts)
    sent = ~np.isnan(column(client.requests, "sent_s"))
    if counted is None or not known.any():
        return None
    return counted - float(prompts[known].mean()) * int((known | sent).sum())


def cache_excess(client: Client) -> float | None:
    """First turns' hits beyond what the plan allows, as a fraction of their prompts.

    Unknown where the run was told to keep what the cache holds (no salt).
    """
    found = contamination(client.requests, client.workload)
    excess: float | None = found["excess_fraction"]
    return None if found["result"] == "unsalted" else excess


def output_length(client: Client) -> float | None:
    """How far the output lengths are from what was asked, summed without sign, over what was."""
    ok = client.in_window & outcome_is(client.requests, "ok")
    asked = column(client.requests, "planned_output_tokens")[ok]
    got = column(client.requests, "output_tokens")[ok]
    both = ~np.isnan(asked) & ~np.isnan(got) & (asked > 0)
    return float(np.abs(got - asked)[both].sum() / asked[both].sum()) if both.any() else None


def _workers(client: Client) -> list[Mapping[str, Any]]:
    return list(((client.end or {}).get("client") or {}).get("workers", ()))
