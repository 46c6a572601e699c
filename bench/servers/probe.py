"""Finding out what an endpoint is and can do, with one announced generation.

Every other request is a GET of `/v1/models`, the family's version path and `/metrics`, or a POST to
its tokenizer.  No health endpoint, no path that changes the server (`FORBIDDEN_PATHS`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from bench.errors import TargetError
from bench.model import MESSAGE_ENDPOINTS, RequestStyle, Target, TokenMethod
from bench.servers.client import ControlClient
from bench.servers.deep import REQUESTS, Closer, look_closer
from bench.servers.families import family_by_headers, family_named
from bench.servers.family import Family, Role, resolve_all
from bench.servers.findings import Abilities, ProbeResult, ServerFacts, metrics_facts
from bench.servers.gaps import Gap, metrics_gaps, missing_series, stream_gaps
from bench.servers.identify import Identity, choose_model, look, read_fingerprint
from bench.servers.shape import StreamShape
from bench.servers.tokenizer import count_chat, tokenize
from bench.servers.trial import Trial, ask

PROBE_TOKENS = 8
_PROBE_SALT = "bench-probe"
_PROMPT = "Say a few words about the sea."


@dataclass(frozen=True, slots=True)
class _Seen:
    """Everything that was looked at, before conclusions."""

    url: str
    target: Target
    identity: Identity
    tokenized_length: int | None
    trial: Trial
    took_ids: bool | None
    closer: Closer | None = None


async def probe(
    target: Target,
    *,
    family: str | None = None,
    metrics_url: str | None = None,
    deep: bool = False,
    announce: Callable[[str], None] = lambda line: None,
) -> ProbeResult:
    """Looks at a server and says what it is and can do.

    `target.model` may be empty when the server has one model.  `family` overrules recognition,
    `metrics_url` the usual address.  `announce` is told of requests before they are sent.
    Raises TargetError when the server can't be reached, has no such model or can't generate, and
    UsageError for a URL or family name that is wrong.
    """
    forced = None if family is None else family_named(family)
    async with ControlClient(target) as client:
        announce(f"{client.root}: its models, version, metrics and tokenizer")
        identity = await look(client, forced, metrics_url)
        model = choose_model(identity.cards, identity.listing, target.model)
        target = replace(target, model=model)
        ids, length = await _tokenized(client, identity.family, target)
        announce(f"POST one streamed {target.endpoint} request, {PROBE_TOKENS} output tokens")
        trial, took_ids = await _trial(client, target, identity.family, ids)
        _check_answer(trial)
        if forced is None:
            identity = _behind_gateway(identity, trial)
        seen = _Seen(client.root, target, identity, length, trial, took_ids)
        if deep:
            announce(f"POST up to {REQUESTS} more short requests (--deep)")
            salt = identity.family.cache_salt
            seen = replace(seen, closer=await look_closer(client, target, _style(seen), salt))
    return _conclude(seen)


async def _tokenized(
    client: ControlClient, family: Family, target: Target
) -> tuple[list[int], int | None]:
    """The probe's prompt as token ids, and its length on this endpoint, as the tokenizer tells."""
    try:
        ids = await tokenize(client, family, target.model, _PROMPT)
        if target.endpoint not in MESSAGE_ENDPOINTS:
            return ids, len(ids)
        messages = [{"role": "user", "content": _PROMPT}]
        return ids, await count_chat(client, family, target.model, messages)
    except TargetError:
        return [], None


async def _trial(
    client: ControlClient, target: Target, family: Family, ids: list[int]
) -> tuple[Trial, bool | None]:
    """The one streamed request, and whether a prompt of token ids was taken (None: not tried)."""
    style = replace(
        family.style,
        include_usage=True,
        continuous_usage=True,
        return_token_ids=True,
        cache_salt=_PROBE_SALT if family.cache_salt else None,
    )
    if target.endpoint != "completions" or not (ids and family.token_ids_prompt):
        return await ask(client, target, _PROMPT, PROBE_TOKENS, style), None
    try:
        return await ask(client, target, ids, PROBE_TOKENS, style), True
    except TargetError:
        return await ask(client, target, _PROMPT, PROBE_TOKENS, style), False


def _check_answer(trial: Trial) -> None:
    """Raises TargetError for a stream that failed inside its status 200, or held no token."""
    shape = trial.shape
    if shape is not None and shape.token_method is None:
        said = shape.error or "it ended without a token"
        raise TargetError(
            f"POST {trial.reply.url}: status 200, but {said}",
            "is the model name (-m) right, and does the endpoint fit the model (--endpoint)?",
        )


def _behind_gateway(identity: Identity, trial: Trial) -> Identity:
    """The identity, corrected where the answer's headers name a gateway."""
    gateway = family_by_headers(trial.reply.headers)
    if gateway is None or gateway is identity.family:
        return identity
    seen = (identity.family, *identity.layers) if identity.metrics.url else ()
    return replace(identity, family=gateway, layers=seen, version=None, known_by="response headers")


def _conclude(seen: _Seen) -> ProbeResult:
    identity, target, shape = seen.identity, seen.target, seen.trial.shape
    family = identity.family
    series = resolve_all((family, *identity.layers), identity.metrics.names)
    metrics = metrics_facts(identity.metrics, series, missing_series(series))
    gaps = [
        *stream_gaps(shape, family),
        *_eos_gaps(seen),
        *metrics_gaps(metrics, family),
    ]
    return ProbeResult(
        url=seen.url,
        endpoint=target.endpoint,
        model=target.model,
        models=tuple(card.id for card in identity.cards),
        max_model_len=next(
            (card.max_model_len for card in identity.cards if card.id == target.model), None
        ),
        server=_server(seen),
        stream=shape,
        abilities=_abilities(seen),
        metrics=metrics,
        style=_style(seen),
        gaps=tuple(gaps),
        closer=seen.closer,
        notes=_notes(seen),
    )


def _server(seen: _Seen) -> ServerFacts:
    identity, family = seen.identity, seen.identity.family
    fingerprint = seen.trial.shape.fingerprint if seen.trial.shape else None
    stated, parallel = read_fingerprint(fingerprint)
    version = identity.version
    if version is None and family.version_header:
        version = seen.trial.reply.headers.get(family.version_header)
    if version is None and family.role is Role.ENGINE:
        version = fingerprint if family.fingerprint_version else stated
    return ServerFacts(
        family=family.name,
        title=family.title,
        known_by=identity.known_by,
        layers=tuple(layer.name for layer in identity.layers),
        version=version,
        parallel={**identity.parallel, **parallel},
    )


def _abilities(seen: _Seen) -> Abilities:
    trial, closer = seen.trial, seen.closer
    cached = trial.shape is not None and trial.shape.cached_tokens is not None
    if closer is not None:
        cached = cached or closer.repeat_cached_tokens is not None
    took_ids = seen.took_ids
    if took_ids is None and closer is not None:
        took_ids = closer.token_ids_prompt
    return Abilities(
        token_method=_token_method(trial.shape),
        ignore_eos=_ignore_eos(seen),
        cached_tokens=cached or (None if closer is None else False),
        token_ids_prompt=took_ids,
        tokenize=_tokenizer_is_right(seen),
        refused=trial.refused,
        left_out=trial.left_out,
    )


def _tokenizer_is_right(seen: _Seen) -> bool:
    """Whether the tokenizer told the length that the usage then stated.

    A completions prompt that is text gets special tokens of the model in front: those may differ.
    """
    shape = seen.trial.shape
    stated = shape.prompt_tokens if shape else None
    if seen.tokenized_length is None or stated is None:
        return seen.tokenized_length is not None
    slack = 0 if seen.took_ids or seen.target.endpoint in MESSAGE_ENDPOINTS else 2
    return abs(stated - seen.tokenized_length) <= slack


def _token_method(shape: StreamShape | None) -> TokenMethod | None:
    """How a run in the resulting style counts tokens."""
    if shape is None:
        return None
    return TokenMethod.CONTINUOUS_USAGE if shape.continuous_usage else shape.token_method


def _ignore_eos(seen: _Seen) -> str | None:
    trial, closer = seen.trial, seen.closer
    if "ignore_eos" in trial.refused:
        return "refused"
    if not trial.style.ignore_eos or trial.shape is None:
        return None
    if closer is not None and closer.ignore_eos is not None:
        return "honoured" if closer.ignore_eos else "ignored"
    if trial.shape.finish_reason == "stop":
        return "ignored"
    return "accepted" if trial.shape.output_tokens == PROBE_TOKENS else None


def _style(seen: _Seen) -> RequestStyle:
    """How to ask in a run: every field that was taken and does what it should.

    Running usage is preferred to token ids: with these, the first event also repeats the prompt.
    """
    trial = seen.trial
    running = trial.shape is not None and trial.shape.continuous_usage
    ids = trial.shape is not None and trial.shape.token_ids
    return replace(
        trial.style,
        continuous_usage=running,
        return_token_ids=ids and not running,
        ignore_eos=trial.style.ignore_eos and _ignore_eos(seen) != "ignored",
    )


def _eos_gaps(seen: _Seen) -> list[Gap]:
    state = _ignore_eos(seen)
    if state in ("honoured", "accepted"):
        return []
    effect = f"output lengths follow the model, not the plan (ignore_eos: {state or 'unknown'})"
    remedy = seen.identity.family.remedies.get("ignore_eos", "judge with output lengths waived")
    return [Gap("ignore_eos", effect, remedy)]


def _notes(seen: _Seen) -> tuple[str, ...]:
    notes = []
    identity, shape = seen.identity, seen.trial.shape
    names = [card.id for card in identity.cards]
    if seen.target.model not in names:
        notes.append(f"model {seen.target.model} is not in /v1/models, yet it answered")
    if seen.tokenized_length is not None and not _tokenizer_is_right(seen) and shape is not None:
        notes.append(
            f"the tokenizer counts {seen.tokenized_length} prompt tokens, the usage "
            f"{shape.prompt_tokens}: it is not used"
        )
    if shape is not None and shape.error is not None:
        notes.append(f"the stream held an error: {shape.error}")
    if shape is not None and not shape.done and shape.error is None:
        notes.append("the stream ends without [DONE]; the finish reason ends it")
    if seen.trial.refused:
        notes.append(f"request fields refused: {', '.join(seen.trial.refused)}")
    if seen.trial.left_out:
        notes.append(f"request fields left out unproven: {', '.join(seen.trial.left_out)}")
    return (*notes, *identity.family.cautions)
