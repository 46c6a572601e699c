"""What a server family is: how it is recognised, what it takes, what it says of itself.

A family is one row.  A series is one quantity under a neutral name; a family lists the names under
which its versions expose it, the newest first.  Nothing here touches the network.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bench.model import RequestStyle


class Kind(StrEnum):
    """How the values of a series are read over a window."""

    COUNTER = "counter"  # last - first, minding resets
    GAUGE = "gauge"  # a value at an instant
    CUMULATIVE_GAUGE = "cumulative_gauge"  # typed gauge by the server, read as a counter
    HISTOGRAM = "histogram"  # `_bucket`, `_sum` and `_count`, each a counter
    LABELS = "labels"  # the labels are the content, the value is 1


@dataclass(frozen=True, slots=True)
class Series:
    """A neutral series: what it counts and in which unit (metric system §3, §4, §6)."""

    kind: Kind
    unit: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Exposed:
    """One name under which a family exposes a series.

    `kind` overrides the neutral series' kind.  `where`: a sample counts only if each label named
    here is absent or has one of the values.  `scale` turns the exposed unit into the neutral one.
    `note` says what the number means where that is not obvious.
    """

    name: str
    kind: Kind | None = None
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scale: float = 1.0
    note: str = ""

    @property
    def sample_names(self) -> tuple[str, ...]:
        """The names of the samples that make it up, whatever its kind."""
        return (self.name, f"{self.name}_bucket", f"{self.name}_sum", f"{self.name}_count")


PLAIN = RequestStyle(ignore_eos=False)


class Role(StrEnum):
    ENGINE = "engine"
    GATEWAY = "gateway"
    CACHE = "cache"
    EXPORTER = "exporter"


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of server, gateway, cache or exporter.

    Recognised by `owned_by` (of `/v1/models`), `response_headers` (name prefixes) or
    `metric_marks` (prefixes of metric names).  `hides` names families whose metric names it also
    exposes without being one of them.
    `tokenize_field` is the name of the text in a request to `tokenize_path`; `template_path` makes
    one text of chat messages, where the tokenizer takes no messages.
    `token_ids_prompt`: `/v1/completions` is known to take token ids.
    `drop_labels`: samples that carry one of them are another server's, re-exported.
    `copy_labels`: the same, but for a run in which that server is not scraped itself.
    `refresh_s`: how old what its metrics tell may be.
    `rank_labels`: samples that differ in these alone are one number told by several processes.
    `forbidden`: paths that stop, pause, flush or load the server.
    `remedies`: what is missing (see `bench.servers.gaps`) → the server's setting that enables it.
    `cautions`: settings that would spoil a measurement and can't be seen from outside.
    """

    name: str
    title: str
    role: Role = Role.ENGINE
    owned_by: tuple[str, ...] = ()
    response_headers: tuple[str, ...] = ()
    metric_marks: tuple[str, ...] = ()
    hides: tuple[str, ...] = ()
    version_path: str | None = None
    version_header: str | None = None
    fingerprint_version: bool = False
    metrics_paths: tuple[str, ...] = ("/metrics",)
    ports: Mapping[str, int] = field(default_factory=dict)
    style: RequestStyle = PLAIN
    tokenize_path: str | None = None
    tokenize_field: str = "prompt"
    template_path: str | None = None
    cache_salt: bool = False
    token_ids_prompt: bool = False
    block_tokens: int | None = None
    refresh_s: float = 0.0
    series: Mapping[str, tuple[Exposed, ...]] = field(default_factory=dict)
    drop_labels: tuple[str, ...] = ()
    copy_labels: tuple[str, ...] = ()
    rank_labels: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    remedies: Mapping[str, str] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()


def resolve(family: Family, exposed_names: Collection[str]) -> dict[str, str]:
    """The exposed name of each series the server has: the first of the family's that is there.

    `exposed_names` are names of samples and of TYPE lines.  A series with none is left out.
    """
    return {
        series: found.name
        for series, candidates in family.series.items()
        if (found := next((c for c in candidates if is_exposed(c, exposed_names)), None))
    }


def is_exposed(candidate: Exposed, exposed_names: Collection[str]) -> bool:
    return any(name in exposed_names for name in candidate.sample_names)


def exposed(family: Family, series: str, name: str) -> Exposed:
    """The row of a family's series that was resolved to `name`.

    Raises KeyError when the family has no such series or name.
    """
    for candidate in family.series[series]:
        if candidate.name == name:
            return candidate
    raise KeyError(f"{family.name} does not expose {series} as {name}")


@dataclass(frozen=True, slots=True)
class ResolvedSeries:
    """A series as one server exposes it: all that reading it from a run folder needs."""

    family: str
    name: str
    kind: Kind
    unit: str
    where: Mapping[str, tuple[str, ...]]
    scale: float
    note: str


def resolve_all(
    families: Iterable[Family], exposed_names: Collection[str]
) -> dict[str, ResolvedSeries]:
    """The series of several families in one metrics text; where two have one, the first counts."""
    resolved: dict[str, ResolvedSeries] = {}
    for family in families:
        for series, name in resolve(family, exposed_names).items():
            found, neutral = exposed(family, series, name), SERIES[series]
            resolved.setdefault(
                series,
                ResolvedSeries(
                    family=family.name,
                    name=found.name,
                    kind=found.kind or neutral.kind,
                    unit=neutral.unit,
                    where=found.where,
                    scale=found.scale,
                    note=found.note,
                ),
            )
    return resolved


def allowed_names(families: Iterable[Family]) -> frozenset[str]:
    """Every sample name a scrape of these families keeps, resolved or not yet exposed."""
    return frozenset(
        name
        for family in families
        for candidates in family.series.values()
        for candidate in candidates
        for name in candidate.sample_names
    )


def rank_labels(families: Iterable[Family]) -> tuple[str, ...]:
    """Labels that tell copies of a number apart, in any of these families."""
    return tuple(dict.fromkeys(label for family in families for label in family.rank_labels))


_COUNTER, _GAUGE, _HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM

SERIES: Mapping[str, Series] = {
    "running": Series(_GAUGE, "requests", "requests in the running batch"),
    "waiting": Series(_GAUGE, "requests", "requests queued"),
    "waiting_by_reason": Series(_GAUGE, "requests", "requests queued, by reason"),
    "swapped": Series(_GAUGE, "requests", "requests whose KV is swapped out"),
    "kv_usage_fraction": Series(_GAUGE, "fraction", "share of KV cache blocks in use"),
    "prompt_tokens": Series(_COUNTER, "tokens", "prompt tokens, cached ones included"),
    "prompt_tokens_computed": Series(_COUNTER, "tokens", "prompt tokens, cached ones left out"),
    "prompt_tokens_cached": Series(_COUNTER, "tokens", "prompt tokens served from a cache"),
    "prompt_tokens_by_source": Series(_COUNTER, "tokens", "prompt tokens, by where from"),
    "cached_tokens_by_tier": Series(_COUNTER, "tokens", "cached prompt tokens, by tier"),
    "generation_tokens": Series(_COUNTER, "tokens", "output tokens"),
    "cache_queried_tokens": Series(_COUNTER, "tokens", "prompt tokens looked up"),
    "cache_hit_tokens": Series(_COUNTER, "tokens", "prompt tokens found in the prefix cache"),
    "external_queried_tokens": Series(_COUNTER, "tokens", "tokens asked of an outer KV tier"),
    "external_hit_tokens": Series(_COUNTER, "tokens", "tokens found in an outer KV tier"),
    "cache_hit_blocks": Series(_COUNTER, "blocks", "KV blocks reused"),
    "cache_missed_blocks": Series(_COUNTER, "blocks", "KV blocks not found"),
    "cache_hit_rate_fraction": Series(_GAUGE, "fraction", "hit rate as the server states it"),
    "cache_hit_rate_since_start_fraction": Series(
        _GAUGE, "fraction", "hit tokens over looked-up ones since the server's start"
    ),
    "preemptions": Series(_COUNTER, "requests", "requests put back for lack of KV blocks"),
    "requests_received": Series(_COUNTER, "requests", "requests that came in"),
    "requests_finished": Series(_COUNTER, "requests", "sequences that ended, for any reason"),
    "requests_failed": Series(_COUNTER, "requests", "requests that failed"),
    "requests_rejected": Series(_COUNTER, "requests", "requests refused at the door"),
    "ttft_s": Series(_HISTOGRAM, "s", "arrival to first token, as the server sees it"),
    "itl_s": Series(_HISTOGRAM, "s", "gap between engine outputs of a request"),
    "tpot_s": Series(_HISTOGRAM, "s", "mean time per output token of a request"),
    "e2e_s": Series(_HISTOGRAM, "s", "arrival to last token"),
    "ttft_total_s": Series(_COUNTER, "s", "times to the first token, added up"),
    "ttft_observed": Series(_COUNTER, "requests", "requests in that sum"),
    "e2e_total_s": Series(_COUNTER, "s", "times to the last token, added up"),
    "e2e_observed": Series(_COUNTER, "requests", "requests in that sum"),
    "queue_s": Series(_HISTOGRAM, "s", "queued to first scheduled"),
    "prefill_s": Series(_HISTOGRAM, "s", "first scheduled to first token"),
    "decode_s": Series(_HISTOGRAM, "s", "first to last token"),
    "inference_s": Series(_HISTOGRAM, "s", "first scheduled to last token"),
    "iteration_tokens": Series(_HISTOGRAM, "tokens", "tokens processed by one engine step"),
    "prompt_length_tokens": Series(_HISTOGRAM, "tokens", "prompt length of a request"),
    "output_length_tokens": Series(_HISTOGRAM, "tokens", "output length of a request"),
    "drafts": Series(_COUNTER, "steps", "speculative decoding steps"),
    "draft_tokens": Series(_COUNTER, "tokens", "tokens proposed by the draft"),
    "accepted_tokens": Series(_COUNTER, "tokens", "draft tokens accepted"),
    "accepted_tokens_by_position": Series(_COUNTER, "tokens", "draft tokens accepted, by place"),
    "accepted_length_tokens": Series(_GAUGE, "tokens", "tokens accepted per step"),
    "prompt_tps": Series(_GAUGE, "tokens/s", "prompt throughput as the server states it"),
    "generation_tps": Series(_GAUGE, "tokens/s", "output throughput as the server states it"),
    "cache_config": Series(Kind.LABELS, "", "the KV cache's settings"),
    "block_tokens": Series(_GAUGE, "tokens", "tokens of one KV block"),
    "process_start_s": Series(_GAUGE, "s", "Unix time the process or its counters began"),
    "device_utilization_fraction": Series(_GAUGE, "fraction", "accelerator busy"),
    "device_memory_utilization_fraction": Series(_GAUGE, "fraction", "accelerator memory used"),
    "device_memory_used_bytes": Series(_GAUGE, "bytes", "accelerator memory used"),
    "device_memory_free_bytes": Series(_GAUGE, "bytes", "accelerator memory free"),
    "device_memory_total_bytes": Series(_GAUGE, "bytes", "accelerator memory installed"),
    "device_memory_bandwidth_fraction": Series(_GAUGE, "fraction", "memory interface busy"),
    "device_tensor_fraction": Series(_GAUGE, "fraction", "matrix units busy"),
    "device_power_w": Series(_GAUGE, "W", "accelerator power"),
    "device_energy_j": Series(_COUNTER, "J", "accelerator energy since driver start"),
    "device_temperature_c": Series(_GAUGE, "°C", "accelerator temperature"),
    "device_clock_hz": Series(_GAUGE, "Hz", "accelerator core clock"),
    "device_errors": Series(_GAUGE, "", "last device error code, 0 is none"),
    "host_cpu_s": Series(_COUNTER, "s", "CPU time, by mode"),
    "host_load": Series(_GAUGE, "", "1 minute load average"),
    "host_memory_available_bytes": Series(_GAUGE, "bytes", "host memory available"),
    "host_memory_total_bytes": Series(_GAUGE, "bytes", "host memory installed"),
    "host_receive_bytes": Series(_COUNTER, "bytes", "bytes received, by device"),
    "host_transmit_bytes": Series(_COUNTER, "bytes", "bytes sent, by device"),
    "host_link_bytes_per_s": Series(_GAUGE, "bytes/s", "speed of the link, by device"),
    "host_tcp_retransmits": Series(_COUNTER, "segments", "TCP segments sent again"),
}
"""Neutral series by name."""
