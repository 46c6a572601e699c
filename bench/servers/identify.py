"""Finding out which family a server is of, with requests that change nothing.

Order: GET /v1/models (`owned_by`, `Server` header) → the version path → GET /metrics (names).  No
health endpoint is asked: SGLang's and MindIE's run a generation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

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


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answers: its family, families seen in the same metrics text, and by what it is known.

    `parallel`: degrees above 1 that its version page states (SGLang's does).
    """

    family: Family
    layers: tuple[Family, ...]
    known_by: str
    cards: tuple[ModelCard, ...]
    listing: Reply
    version: str | None
    parallel: Mapping[str, int]
    metrics: Metrics


async def look(client: ControlClient, forced: Family | None, metrics_url: str | None) -> Identity:
    """Models, version, metrics, in this order.  `forced` overrules what they say.

    Raises TargetError when nothing answers or the key is refused.
    """
    cards, reply = await list_models(client)
    owner = next((card.owned_by for card in cards if card.owned_by), "") or ""
    by_owner = family_by_owner(owner)
    guess = forced or by_owner or OPENAI
    version, parallel = await read_version(client, guess)
    metrics = await find_metrics(client, guess, metrics_url)
    by_metrics = families_by_metrics(metrics.names)
    by_header = family_by_headers(reply.headers)
    serving = [family for family in by_metrics if family.role is not Role.CACHE]
    if forced is not None:
        family, known_by = forced, "as told"
    elif by_header is not None:
        family, known_by = by_header, "response headers"
    elif serving:
        # A router passes `owned_by` on from the engine behind it; its metrics are its own.
        family, known_by = serving[0], "metric names"
    elif by_owner is not None:
        family, known_by = by_owner, f"owned_by {owner}"
    else:
        family, known_by = OPENAI, "nothing it says"
    if family is not guess:
        found, parallel = await read_version(client, family)
        version = found or version
    layers = tuple(layer for layer in by_metrics if layer is not family)
    return Identity(family, layers, known_by, tuple(cards), reply, version, parallel, metrics)


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


def choose_model(cards: Sequence[ModelCard], listing: Reply, asked: str) -> str:
    """The model to use: the one asked for, else the only one that is no adapter.

    `listing` is the answer the cards come from.  Raises TargetError when there is no such one.
    """
    if asked:
        return asked
    bases = [card.id for card in cards if card.adapter_of is None]
    if len(bases) == 1:
        return bases[0]
    if cards:
        names = ", ".join(card.id for card in cards[:10])
        raise TargetError(f"the server has {len(cards)} models: {names}", "choose one: -m MODEL")
    if listing.status != 200:
        raise refused(listing, "GET")
    raise TargetError(f"GET {listing.url}: it lists no model", "name it with -m MODEL")


async def find_metrics(client: ControlClient, family: Family, url: str | None) -> Metrics:
    """The first address that answers with Prometheus text: `url`, else the family's usual ones."""
    reason = ""
    for where in [url] if url else metrics_urls(client.root, family):
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


def metrics_urls(root: str, family: Family) -> list[str]:
    """Where a family's metrics may be: on ports of their own if it has such, then its own port."""
    business = family.ports.get("business")
    parts = urlsplit(root)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    bases = [
        f"{parts.scheme}://{host}:{family.ports[role]}"
        for role in ("metrics", "management")
        if family.ports.get(role, business) != business
    ]
    return [base + path for base in [*bases, root] for path in family.metrics_paths]


async def read_version(client: ControlClient, family: Family) -> tuple[str | None, dict[str, int]]:
    """Version and parallelism by the family's version path; (None, {}) without an answer."""
    if family.version_path is None:
        return None, {}
    try:
        reply = await client.get(family.version_path)
    except TargetError:
        return None, {}
    found = reply.json()
    if reply.status != 200 or not isinstance(found, dict):
        return None, {}
    version = found.get("version")
    sizes = {degree: found.get(f"{degree}_size") for degree in ("tp", "pp", "dp", "ep")}
    parallel = {d: size for d, size in sizes.items() if isinstance(size, int) and size > 1}
    return version if isinstance(version, str) else None, parallel


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
