"""The table of families, and finding the one a server belongs to.

An unknown server is `OPENAI`: it is measured through the OpenAI API alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from bench.errors import UsageError
from bench.model import RequestStyle
from bench.servers.family import Family, Role, allowed_names
from bench.servers.rows.engines import LLAMACPP, LMDEPLOY, TENSORRT_LLM, TGI
from bench.servers.rows.gateways import (
    DYNAMO,
    ENVOY_AI_GATEWAY,
    HIGRESS,
    LITELLM,
    LMCACHE,
    PRODUCTION_STACK,
)
from bench.servers.rows.mindie import MINDIE
from bench.servers.rows.sglang import SGLANG
from bench.servers.rows.vllm import VLLM, VLLM_ASCEND

OPENAI = Family(
    name="openai",
    title="OpenAI-compatible server",
    style=RequestStyle(ignore_eos=True, continuous_usage=True),
    remedies={"metrics": "give the address of its metrics with --metrics-url"},
)

FAMILIES: tuple[Family, ...] = (
    VLLM,
    VLLM_ASCEND,
    MINDIE,
    SGLANG,
    LLAMACPP,
    TGI,
    TENSORRT_LLM,
    LMDEPLOY,
    DYNAMO,
    LITELLM,
    PRODUCTION_STACK,
    ENVOY_AI_GATEWAY,
    HIGRESS,
    LMCACHE,
    OPENAI,
)

FORBIDDEN_PATHS: frozenset[str] = frozenset(
    path for family in FAMILIES for path in family.forbidden
)
"""Paths no look at a server may ask for, whichever family it turns out to be."""


def family_named(name: str) -> Family:
    """The row of that name.  Raises UsageError with the known names."""
    for family in FAMILIES:
        if family.name == name:
            return family
    known = ", ".join(family.name for family in FAMILIES)
    raise UsageError(f"no server family is named {name!r}", f"one of: {known}")


def family_by_owner(owned_by: str) -> Family | None:
    """The family whose `/v1/models` says `owned_by` so."""
    return next((f for f in FAMILIES if owned_by in f.owned_by), None)


def family_by_headers(headers: Mapping[str, str]) -> Family | None:
    """The family that marks its answers with a header of its own."""
    names = [name.lower() for name in headers]
    for family in FAMILIES:
        if any(name.startswith(family.response_headers) for name in names):
            return family
    return None


def families_by_metrics(exposed_names: Collection[str]) -> tuple[Family, ...]:
    """Every family with a mark among the metric names: a gateway first, a cache layer last."""
    found = [
        family
        for family in FAMILIES
        if family.metric_marks and any(n.startswith(family.metric_marks) for n in exposed_names)
    ]
    order = (Role.GATEWAY, Role.ENGINE, Role.CACHE)
    return tuple(
        sorted(
            (f for f in found if not _is_hidden(f, found, exposed_names)),
            key=lambda f: order.index(f.role),
        )
    )


def _is_hidden(family: Family, found: Sequence[Family], exposed_names: Collection[str]) -> bool:
    """Whether another family explains every name of this one.

    A router's text alone holds copies only; beside an engine's the names are the engine's too.
    """
    hiding = [other for other in found if family.name in other.hides]
    own = allowed_names([family]).intersection(exposed_names)
    return bool(hiding) and own <= allowed_names(hiding)
