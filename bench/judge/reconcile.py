"""Client and server side by side over the whole run: times, counts, and what explains a difference.

Both views are of all requests of the run, the warm-up too, since the server's counters know no
phases.  A server's clock starts when its frontend has the request and ends before the answer is on
the wire, so its times are the smaller ones; what lies between is the network, HTTP, and queueing
outside the engine.  Metric system §4, §10.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.judge.contamination import contamination
from bench.judge.metric import Text, column, outcome_is
from bench.judge.server_cache import hits
from bench.judge.server_view import ServerView
from bench.judge.stats import Floats, finite_or_none, quantiles
from bench.judge.usage import prompt_usage
from bench.servers.series import HistogramDelta

QUANTILES: Mapping[str, float] = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
_SAME_POPULATION = 0.01
_OUTSIDE = Text("网络 + HTTP + 引擎之外的排队", "network + HTTP + queueing outside the engine")
_ON_THE_WAY = Text("字节在途中的快慢不一", "unevenness on the way")


@dataclass(frozen=True, slots=True)
class _Compared:
    """One time that the server tells too.

    `ours` makes it of the requests (None: only the server can know); `answered` is the column of
    what the server says of each request in its answer; `between` names the difference.
    """

    name: str
    series: str
    ours: Callable[[pd.DataFrame], Floats] | None = None
    answered: str | None = None
    between: Text | None = None


def _gaps(frame: pd.DataFrame) -> Floats:
    """Gaps after the first token, one for each request; see `_tokens_after_first`."""
    return column(frame, "last_s") - column(frame, "first_s")


def _tokens_after_first(frame: pd.DataFrame) -> Floats:
    tokens = column(frame, "output_tokens") - 1
    return np.where(tokens > 0, tokens, np.nan)


_LATENCIES = (
    _Compared("ttft", "ttft_s", lambda f: column(f, "first_s") - column(f, "sent_s"),
              between=_OUTSIDE),
    _Compared("e2e", "e2e_s", lambda f: column(f, "last_s") - column(f, "sent_s"),
              between=_OUTSIDE),
    _Compared("tpot", "tpot_s", lambda f: _gaps(f) / _tokens_after_first(f), between=_ON_THE_WAY),
    _Compared("decode", "decode_s", _gaps, "server_decode_s", _ON_THE_WAY),
    _Compared("queue", "queue_s", answered="server_queue_s"),
    _Compared("prefill", "prefill_s", answered="server_prefill_s"),
)  # fmt: skip


def reconcile(
    frame: pd.DataFrame, server: ServerView, workload: Mapping[str, Any]
) -> dict[str, Any]:
    """The `reconciliation` part of summary.json.

    `latencies`: for each time the client's and the server's n, mean and quantiles in seconds, the
    server's as (above, at most) of a bucket, and the difference of the means with its name.
    `itl`: the server's gap for a step beside ours for a token.  `cache`: hit rates.  `counts`:
    ours, the server's, and what is left.  Parts that the server tells nothing of are None.
    """
    counts = _counts(frame, server)
    return {
        "latencies": [_latency(each, frame, server) for each in _LATENCIES],
        "itl": _itl(frame, server),
        "counts": counts,
        "cache": _cache(frame, server, workload),
        "contamination": contamination(frame, workload),
        "speculation": _speculation(server),
        "preemptions": server.increase("preemptions").value,
        "waiting": _waiting(server),
        "batch_mean": _mean(column(frame, "server_batch_mean")),
        "remarks": [text.as_json() for text in _remarks(frame, server, counts)],
    }


def _latency(compared: _Compared, frame: pd.DataFrame, server: ServerView) -> dict[str, Any]:
    ours = None
    if compared.ours is not None:
        values = compared.ours(frame)
        ours = _statistics(values[np.isfinite(values)])
    theirs = _of_histogram(server.histogram(compared.series)) or _of_sums(compared.name, server)
    told = _mean(column(frame, compared.answered)) if compared.answered else None
    difference = _difference(ours, theirs)
    return {
        "name": compared.name,
        "client": ours,
        "server": theirs,
        "answers_mean_s": told,
        "difference_s": difference,
        "between": compared.between.as_json()
        if compared.between and difference is not None
        else None,
        "same_requests": _close(ours["n"], theirs["n"]) if ours and theirs else None,
    }


def _difference(ours: dict[str, Any] | None, theirs: dict[str, Any] | None) -> float | None:
    if ours is None or theirs is None or theirs["mean_s"] is None:
        return None
    return float(ours["mean_s"] - theirs["mean_s"])


def _statistics(values: Floats) -> dict[str, Any] | None:
    if not len(values):
        return None
    ranked = quantiles(values, list(QUANTILES.values()))
    return {
        "n": len(values),
        "mean_s": float(values.mean()),
        **dict(zip((f"{name}_s" for name in QUANTILES), map(float, ranked), strict=True)),
    }


def _of_histogram(found: HistogramDelta | None) -> dict[str, Any] | None:
    """Mean and quantiles of a histogram; a quantile is only known to lie in its bucket."""
    if found is None or not found.count:
        return None
    bounds = {name: found.quantile(share) for name, share in QUANTILES.items()}
    return {
        "n": round(found.count),
        "mean_s": found.mean,
        **{
            f"{name}_s": None if bound is None else [finite_or_none(end) for end in bound]
            for name, bound in bounds.items()
        },
        "resets": found.resets,
    }


def _of_sums(name: str, server: ServerView) -> dict[str, Any] | None:
    """The mean of a server that adds times up and counts them (Higress); it has no quantiles."""
    total_s, observed = (server.increase(f"{name}_{what}") for what in ("total_s", "observed"))
    if total_s.value is None or not observed.value:
        return None
    return {
        "n": round(observed.value),
        "mean_s": total_s.value / observed.value,
        **{f"{quantile}_s": None for quantile in QUANTILES},
        "resets": max(total_s.resets, observed.resets),
    }


def _itl(frame: pd.DataFrame, server: ServerView) -> dict[str, Any] | None:
    """The mean gap: the server's for an engine output, ours for a token.

    Both sum the same stretches; where a step gives several tokens (speculative decoding, several
    steps at once) the server has fewer and longer gaps.
    """
    theirs = _of_histogram(server.histogram("itl_s"))
    gaps, tokens = _gaps(frame), _tokens_after_first(frame)
    both = np.isfinite(gaps) & np.isfinite(tokens)
    after_first = float(tokens[both].sum())
    if theirs is None or not after_first:
        return None
    ours_s = float(gaps[both].sum()) / after_first
    per_step = after_first / theirs["n"]
    return {
        "client_token_mean_s": ours_s,
        "client_gaps": round(after_first),
        "server_step_mean_s": theirs["mean_s"],
        "server_gaps": theirs["n"],
        "tokens_per_step": per_step,
        "server_token_mean_s": theirs["mean_s"] / per_step,
    }


def _counts(frame: pd.DataFrame, server: ServerView) -> list[dict[str, Any]]:
    """Requests and tokens, ours and the server's.

    The server's requests may be anything from those that ended well to all that were sent, since
    some servers count the others as finished too; what is beyond is other traffic, what is short
    is missing.
    """
    ok = int(outcome_is(frame, "ok").sum())
    sent = int((~np.isnan(column(frame, "sent_s"))).sum())
    finished = server.increase("requests_finished").value
    rows = [_count("requests", ok, sent, finished, 0)]
    cached = server.increase("prompt_tokens_cached").value
    if cached is None:
        cached = server.increase("cache_hit_tokens").value
    prompts = server.increase("prompt_tokens").value
    computed = server.increase("prompt_tokens_computed").value
    if prompts is None and computed is not None and cached is not None:
        prompts = computed + cached
    for name, told in (
        ("prompt_tokens", prompts),
        ("output_tokens", server.increase("generation_tokens").value),
        ("cached_tokens", cached),
    ):
        values = column(frame, name)
        known = ~np.isnan(values)
        unknown = int((~known & ~np.isnan(column(frame, "sent_s"))).sum())
        total = round(float(values[known].sum())) if known.any() else None
        rows.append(_count(name, total, total, told, unknown))
    return rows


def _count(
    name: str, least: int | None, most: int | None, server: float | None, unknown: int
) -> dict[str, Any]:
    theirs = None if server is None else round(server)
    other = missing = None
    if theirs is not None and least is not None and most is not None:
        other, missing = max(0, theirs - most), max(0, least - theirs)
    return {
        "name": name,
        "client": least,
        "server": theirs,
        "other": other,
        "missing": missing,
        "requests_not_stated": unknown,
        "equal": None if other is None else not (other or missing),
    }


def _cache(frame: pd.DataFrame, server: ServerView, workload: Mapping[str, Any]) -> dict[str, Any]:
    """Hit rates of the whole run, and what rounding to the server's blocks takes from the ceiling.

    The ceiling is of the main phase's plan; the rates are of all requests.
    """
    stated = workload.get("ceiling") or {}
    unrounded, total = stated.get("unrounded_hit_tokens"), stated.get("input_tokens")
    usage = prompt_usage(frame)
    found = hits(server)
    return {
        "ceiling_unrounded_fraction": unrounded / total
        if unrounded is not None and total
        else None,
        "ceiling_fraction": stated.get("tokens_fraction"),
        "block_tokens": stated.get("server_block_tokens"),
        "client_fraction": _share(float(usage.cached.sum()), float(usage.prompt.sum())),
        "server_fraction": None if found is None else found.fraction,
    }


def _share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _speculation(server: ServerView) -> dict[str, Any] | None:
    """Acceptance of drafts, and tokens of a step; None where nothing was drafted."""
    drafted = server.increase("draft_tokens").value
    accepted = server.increase("accepted_tokens").value
    drafts = server.increase("drafts").value
    if not drafted or accepted is None:
        return None
    return {
        "acceptance_fraction": accepted / drafted,
        "tokens_per_step": 1 + accepted / drafts if drafts else None,
    }


def _waiting(server: ServerView) -> dict[str, float] | None:
    """Waiting requests, summed over engines: mean and most of the scrapes."""
    tracks = [gauge for gauge in server.gauge("waiting") if len(gauge.values)]
    if not tracks:
        return None
    at_s = np.concatenate([gauge.at_s for gauge in tracks])
    values = np.concatenate([gauge.values for gauge in tracks])
    _, scrape = np.unique(at_s, return_inverse=True)
    summed = np.bincount(scrape, np.nan_to_num(values))
    return {"mean": float(summed.mean()), "max": float(summed.max())}


def _remarks(frame: pd.DataFrame, server: ServerView, counts: list[dict[str, Any]]) -> list[Text]:
    found = []
    others = {row["name"]: row["other"] for row in counts if row["other"]}
    if others.get("requests") or others.get("prompt_tokens"):
        said = ", ".join(f"{name} +{count:,}" for name, count in others.items())
        found.append(
            Text(
                f"服务端计数多于本次运行（{said}）：有其他流量，其直方图也包含这些请求。",
                f"The server counted more than this run ({said}): other traffic, which is in its "
                "histograms too.",
            )
        )
    restarted = server.restarts()
    if restarted:
        found.append(
            Text(
                f"服务端计数器重新开始了 {restarted} 次：重启前最后一次采样之后的计数已丢失。",
                f"The server's counters started anew {restarted}×: what they counted between "
                "the last scrape and that is lost.",
            )
        )
    elif any(row["missing"] for row in counts):
        found.append(
            Text(
                "服务端计数少于本次运行：是否抓取了全部副本？",
                "The server counted less than this run: were all replicas scraped?",
            )
        )
    sent = int((~np.isnan(column(frame, "sent_s"))).sum())
    if sent and not server.resolved:
        found.append(
            Text(
                "没有服务端指标，无法对账。", "No server metrics: there is nothing to compare with."
            )
        )
    return found


def _close(ours: int, theirs: int) -> bool:
    """Whether two counts are of the same requests, but for a few."""
    return abs(ours - theirs) <= _SAME_POPULATION * max(ours, theirs)


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
