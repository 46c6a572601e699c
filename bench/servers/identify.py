"""Finding out which family a server is of, with requests that change nothing.

Order: GET /v1/models (`owned_by`, `Server` header) → the version path → GET /metrics (names).  No
health endpoint is asked: SGLang's and MindIE's run a generation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import TargetError
from bench.servers.client import ControlClient, Reply, refused
from bench.servers.exposition import exposed_names, why_not_metrics
from bench.servers.families import OPENAI, families_by_metrics, family_by_headers, family_by_owner
from bench.servers.family import Family, Role

_FINGERPRINT = re.compile(r"(?P<engine>[a-z]+)-(?P<version>\d+(?:\.\w+)+)(?P<rest>.*)")
_PARALLEL = re.compile(r"-(tp|pp|dp)(\d+)\b|-(ep)\b")


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One row of /v1/models.  `adapter_of` names the base model of a LoRA adapter."""

    id: str
    owned_by: str | None
    max_model_len: int | None
    adapter_of: str | None


@dataclass(frozen=True, slots=True)
class Metrics:
    """A metrics endpoint that was found, or why there is none (`url` None)."""

    url: str | None
    text: str = ""
    names: frozenset[str] = frozenset()
    reason: str = ""


async def list_models(client: ControlClient) -> tuple[list[ModelCard], Reply]:
    """The models served.

    A server without the list gives an empty one.  Raises TargetError when nothing answers, when
    the key is refused, and for an HTML page.
    """
    reply = await client.get("/v1/models")
    found = reply.json()
    if reply.status != 200 or not isinstance(found, dict):
        if reply.status in (401, 403) or "html" in reply.content_type:
            raise refused(reply, "GET")
        return [], reply
    rows = found.get("data") or []
    return [_card(row) for row in rows if isinstance(row, dict) and "id" in row], reply


def _card(row: Mapping[str, Any]) -> ModelCard:
    meta = row.get("meta")
    lengths = (
        row.get("max_model_len"),
        meta.get("n_ctx") if isinstance(meta, dict) else None,
        row.get("max_input_tokens"),
    )
    length = next((n for n in lengths if isinstance(n, int)), None)
    return ModelCard(str(row["id"]), row.get("owned_by"), length, row.get("parent"))


def choose_model(cards: list[ModelCard], asked: str) -> str:
    """The model to use: the one asked for, else the only one that is no adapter.

    Raises TargetError when there is no such one.
    """
    if asked:
        return asked
    bases = [card.id for card in cards if card.adapter_of is None]
    if len(bases) == 1:
        return bases[0]
    if not cards:
        raise TargetError("GET /v1/models lists no model", "name it with -m MODEL")
    names = ", ".join(card.id for card in cards[:10])
    raise TargetError(f"the server has {len(cards)} models: {names}", "choose one with -m MODEL")


async def read_version(client: ControlClient, family: Family) -> str | None:
    """What the family's version path says; None without one or without an answer."""
    if family.version_path is None:
        return None
    try:
        reply = await client.get(family.version_path)
    except TargetError:
        return None
    found = reply.json()
    version = found.get("version") if reply.status == 200 and isinstance(found, dict) else None
    return version if isinstance(version, str) else None


async def find_metrics(client: ControlClient, family: Family, url: str | None) -> Metrics:
    """The first address that answers with Prometheus text: `url`, else the family's paths."""
    reason = ""
    for where in [url] if url else list(family.metrics_paths):
        try:
            reply = await client.get(where)
        except TargetError as error:
            reason = reason or error.message
            continue
        wrong = why_not_metrics(reply.content_type, reply.body)
        if reply.status == 200 and wrong is None:
            text = reply.body.decode("utf-8", "replace")
            return Metrics(reply.url, text, exposed_names(text))
        said = wrong if reply.status == 200 else f"status {reply.status}: {reply.error_text}"
        reason = reason or f"GET {reply.url}: {said}"
    return Metrics(None, reason=reason)


def identify(
    cards: list[ModelCard], headers: Mapping[str, str], metric_names: frozenset[str]
) -> tuple[Family, tuple[Family, ...], str]:
    """The family, the other families whose metrics stand in the same text, and by what it is known.

    Metric names decide over `owned_by`, which a router passes on from the engine behind it.
    """
    by_metrics = families_by_metrics(metric_names)
    owner = next((card.owned_by for card in cards if card.owned_by), "") or ""
    by_owner = family_by_owner(owner)
    by_header = family_by_headers(headers)
    others = tuple(family for family in by_metrics if family is not by_header)
    if by_header is not None:
        return by_header, others, "response headers"
    if by_metrics and by_metrics[0].role is not Role.CACHE:
        return by_metrics[0], by_metrics[1:], "metric names"
    if by_owner is not None:
        return by_owner, by_metrics, f"owned_by {owner}"
    return OPENAI, by_metrics, "nothing it says: taken as a plain OpenAI server"


def read_fingerprint(fingerprint: str | None) -> tuple[str | None, dict[str, int]]:
    """Version and parallelism of vLLM's `vllm-0.32.0[-tpN-ppN-dpN-ep]-HASH`; (None, {}) without."""
    match = _FINGERPRINT.fullmatch(fingerprint or "")
    if match is None:
        return None, {}
    version = match["version"]
    parallel: dict[str, int] = {}
    for degree, size, expert in _PARALLEL.findall(match["rest"]):
        parallel[degree or expert] = int(size) if size else 1
    return version, parallel
