"""Everything that can be found wrong before the first request, and the plan."""

from __future__ import annotations

import math
import resource
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.errors import TargetError, UsageError
from bench.load.files import FILES_BESIDE_CONNECTIONS
from bench.load.pace import Pace
from bench.model import MESSAGE_ENDPOINTS, Message, Target
from bench.servers.client import ControlClient
from bench.servers.families import family_named
from bench.servers.findings import ProbeResult
from bench.servers.probe import probe
from bench.servers.tokenizer import count_chat, tokenize
from bench.servers.trial import ask
from bench.workload.arrivals import Closed
from bench.workload.build import build_plan
from bench.workload.plan import MESSAGES, Plan
from bench.workload.recipe import Recipe
from bench.workload.source import open_source
from bench.workload.tokens import (
    LengthMethod,
    Vocabulary,
    calibration_prompts,
    choose_method,
    estimated_vocabulary,
    local_tokenizer,
    measured_vocabulary,
    token_id_vocabulary,
    with_overhead,
)

Announce = Callable[[str], None]

OPEN_LOOP_WARM_MOST = 256
_LEAST_BYTES = 1 << 16
"""Of free space: about what the folder of an empty run takes."""

PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


@dataclass(frozen=True, slots=True)
class Ready:
    """What the run needs, once everything before it went well."""

    target: Target
    probe: ProbeResult
    plan: Plan
    pace: Pace
    warm_connections: int


async def prepare(
    recipe: Recipe,
    target: Target,
    *,
    family: str | None,
    metrics_url: str | None,
    workers: int,
    announce: Announce,
) -> Ready:
    """Looks at the server, measures its words, plans the run, checks that it can be made.

    Raises TargetError, ConfigError, TraceError, UsageError.
    """
    pace = pace_of(recipe)
    check_limits(pace.concurrency or 1, workers)
    reading = open_source(recipe)
    found = await probe(target, family=family, metrics_url=metrics_url, announce=announce)
    target = replace(target, model=found.model)
    vocabulary = await _vocabulary(recipe, target, found, announce)
    announce(f"planning {recipe.name}")
    plan = build_plan(recipe, reading, vocabulary)
    _check_context(plan, found)
    warm = _warm_connections(plan, pace)
    check_limits(max(warm, pace.concurrency or 0), workers)
    return Ready(target, found, plan, pace, warm)


def pace_of(recipe: Recipe) -> Pace:
    """The recipe's arrivals as the engine takes them; open-loop times are in the plan."""
    arrivals = recipe.arrivals
    closed = isinstance(arrivals, Closed)
    return Pace(
        concurrency=arrivals.concurrency if isinstance(arrivals, Closed) else None,
        ramp_s=arrivals.ramp_s if isinstance(arrivals, Closed) else None,
        max_concurrency=None if closed else recipe.max_concurrency,
        duration_s=recipe.duration_s,
    )


def useful_workers(wanted: int, pace: Pace, requests: int | None) -> int:
    """As many as `wanted`, but each has a slot, room under the cap, and a request to send."""
    limits = (wanted, pace.concurrency, pace.max_concurrency, requests)
    return max(1, min(limit for limit in limits if limit is not None))


def shares(pace: Pace, workers: int) -> list[Pace]:
    """The pace of each worker: slots and caps are divided, times are the same."""

    def part(total: int | None, worker: int) -> int | None:
        return None if total is None else total // workers + (worker < total % workers)

    return [
        replace(
            pace,
            concurrency=part(pace.concurrency, worker),
            max_concurrency=part(pace.max_concurrency, worker),
        )
        for worker in range(workers)
    ]


async def _vocabulary(
    recipe: Recipe, target: Target, found: ProbeResult, announce: Announce
) -> Vocabulary:
    family = family_named(found.server.family)
    method = choose_method(
        recipe.prompt_length,
        recipe.endpoint,
        token_ids=bool(found.abilities.token_ids_prompt),
        tokenize=found.abilities.tokenize,
        tokenizer_file=recipe.tokenizer_file is not None,
    )
    if method is LengthMethod.LOCAL_TOKENIZER:
        assert recipe.tokenizer_file is not None
        tokenizer = local_tokenizer(recipe.path_of(recipe.tokenizer_file))
        words = await measured_vocabulary(tokenizer, method=method)
        if recipe.endpoint not in MESSAGE_ENDPOINTS:
            return words
        return await _with_template(words, target, found, announce)
    if method is LengthMethod.TOKEN_IDS and not found.abilities.tokenize:
        return token_id_vocabulary()
    async with ControlClient(target) as client:
        if method is LengthMethod.ESTIMATE:
            return estimated_vocabulary(await _calibrated(client, target, found, announce))
        announce("POST /tokenize: looking for words of one token")

        async def ids(text: str) -> list[int]:
            return await tokenize(client, family, target.model, text)

        async def chat(messages: Sequence[Message]) -> int:
            return await count_chat(client, family, target.model, messages)

        takes_messages = recipe.endpoint in MESSAGE_ENDPOINTS
        measured = await measured_vocabulary(ids, chat if takes_messages else None)
    return token_id_vocabulary(measured) if method is LengthMethod.TOKEN_IDS else measured


async def _with_template(
    words: Vocabulary, target: Target, found: ProbeResult, announce: Announce
) -> Vocabulary:
    """The vocabulary of a local tokenizer with the server's chat template, which it does not know.

    Without it where the server does not say how long a prompt is, and that is announced.
    """
    async with ControlClient(target) as client:
        try:
            return with_overhead(words, await _calibrated(client, target, found, announce, words))
        except TargetError:
            announce("the server counts no prompts: they are longer by its chat template")
            return words


async def _calibrated(
    client: ControlClient,
    target: Target,
    found: ProbeResult,
    announce: Announce,
    vocabulary: Vocabulary | None = None,
) -> list[tuple[int, int]]:
    """Words and prompt tokens, as the server counts them, of the calibration prompts."""
    announce("POST two calibration requests, 1 output token each")
    return [
        (words, await _prompt_tokens(client, target, text, found))
        for words, text in calibration_prompts(vocabulary)
    ]


async def _prompt_tokens(
    client: ControlClient, target: Target, text: str, found: ProbeResult
) -> int:
    """How long the server says a prompt is; raises TargetError where it does not.

    An endpoint that counts no prompts has the same text counted as a completion.
    """
    endpoints = [target.endpoint]
    if target.endpoint not in MESSAGE_ENDPOINTS:
        endpoints.append("completions")
    for endpoint in endpoints:
        try:
            trial = await ask(client, replace(target, endpoint=endpoint), text, 1, found.style)
        except TargetError:
            if endpoint == target.endpoint:
                raise
        else:
            if trial.shape is not None and trial.shape.prompt_tokens is not None:
                return trial.shape.prompt_tokens
    raise TargetError(
        "the server does not say how long a prompt is, so that prompts can't be made as long as "
        "planned",
        "give --tokenizer-file tokenizer.json",
    )


def _check_context(plan: Plan, found: ProbeResult) -> None:
    """Refuses a plan that the server would refuse, when the server says how much it takes."""
    limit = found.max_model_len
    columns = plan.columns
    if limit is None or not (columns.content < MESSAGES).any():
        return
    total = np.maximum(columns.input_tokens, 0) + np.maximum(columns.output_tokens, 0)
    too_long = int((total > limit).sum())
    if too_long:
        raise UsageError(
            f"{too_long} of {len(total)} requests are longer than the server's context of "
            f"{limit} tokens (longest: {int(total.max())})",
            "fit the trace: --max-input N, --max-output N, --scale-input X, --scale-output X",
        )


def _warm_connections(plan: Plan, pace: Pace) -> int:
    """Connections to open before the clock starts."""
    if pace.concurrency is not None:
        return min(pace.concurrency, plan.requests or pace.concurrency)
    starts = plan.starts_s
    if starts is None or not len(starts):
        return 1
    busiest_second = int(np.bincount(np.floor(starts).astype(np.int64)).max())
    return max(1, min(OPEN_LOOP_WARM_MOST, busiest_second))


def check_folder(base: Path) -> None:
    """Refuses a folder in which no run can be written, while nothing has been sent yet.

    Raises UsageError.
    """
    there = next(each for each in (base, *base.absolute().parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=there, buffering=0) as file:
            file.write(bytes(_LEAST_BYTES))
    except OSError as error:
        raise UsageError(
            f"can't make a run folder in {base}: {error.strerror}",
            "choose a writable folder with -o or the environment variable BENCH_REPORTS",
        ) from None


def check_limits(connections: int, workers: int) -> None:
    """Refuses more connections than this machine lets a process or an address have.

    Raises UsageError with the command that allows them.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    each = math.ceil(connections / workers) + FILES_BESIDE_CONNECTIONS
    if each > hard:
        raise UsageError(
            f"{connections} connection(s) over {workers} worker(s) need {each} open files each; "
            f"this shell's hard limit is {hard}",
            f"raise it (ulimit -Hn {each}) or use more --workers",
        )
    if PORT_RANGE.exists():
        low, high = map(int, PORT_RANGE.read_text().split())
        if connections > (high - low) * 0.9:
            raise UsageError(
                f"{connections} connections to one address need as many local ports; this machine "
                f"has {high - low} (net.ipv4.ip_local_port_range)",
                "sysctl -w net.ipv4.ip_local_port_range='1024 65535', or several target addresses",
            )
