"""Interfaces of servers' own, streamed: TGI, MindIE's `/infer`, Triton, vLLM's first `/generate`.

Sources: MindIE's interface documentation and `single_req_infer_interface/*.cpp`; TGI's
`router/src/lib.rs`.  Times are as MindIE tells them: steps in ms, waits in µs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import orjson

from bench.sim.api import Endpoint, Framing, Reply, Rules, Usage, bad_body
from bench.sim.request import EngineRequest

_DEFAULT_NEW_TOKENS = 20


class _Chunks(ABC):
    """What the four have in common: no role, and nothing behind the last token's event."""

    plain_head = plain_tail = b""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.text: list[str] = []

    def role(self) -> bytes | None:
        return None

    def closing(self, finish: str, beside: Usage | None, own: Usage | None) -> list[bytes]:
        return []

    def token(
        self,
        text: bytes,
        output_tokens: int,
        ids: Sequence[int] = (),
        *,
        field: str = "content",
        finish: str | None = None,
        usage: Usage | None = None,
    ) -> bytes:
        self.text.append(text.decode())
        return orjson.dumps(self.event(self.text[-1], output_tokens, list(ids), finish, usage))

    @abstractmethod
    def event(
        self, text: str, count: int, ids: list[int], finish: str | None, usage: Usage | None
    ) -> dict[str, Any]:
        """The event of some tokens, the last of which is output token number `count`."""

    def details(self, count: int, finish: str, usage: Usage | None) -> dict[str, Any]:
        """What the last event of TGI's kind tells."""
        prompt = {} if usage is None else {"prompt_tokens": usage.prompt}
        reason = "eos_token" if finish == "stop" else finish
        return {**prompt, "finish_reason": reason, "generated_tokens": count, "seed": 0}


class TgiChunks(_Chunks):
    """TGI as MindIE serves it: ids are lists, the last event has the whole text."""

    def event(
        self, text: str, count: int, ids: list[int], finish: str | None, usage: Usage | None
    ) -> dict[str, Any]:
        return {
            "token": {"id": ids, "text": text, "logprob": None, "special": None},
            "generated_text": "".join(self.text) if finish else None,
            "details": self.details(count, finish, usage) if finish else None,
        }


class InferChunks(_Chunks):
    """MindIE's `/infer`: the time of its step beside each token."""

    def event(
        self, text: str, count: int, ids: list[int], finish: str | None, usage: Usage | None
    ) -> dict[str, Any]:
        event: dict[str, Any] = _step_times(self.reply.request)
        if finish:
            event["generated_text"] = "".join(self.text)
            event["details"] = self.details(count, finish, usage)
        return {**event, "token": {"id": ids, "text": None if finish else text}}


class TritonChunks(_Chunks):
    """Triton's `generate_stream`: a running count, the batch and the wait of the step."""

    def event(
        self, text: str, count: int, ids: list[int], finish: str | None, usage: Usage | None
    ) -> dict[str, Any]:
        request = self.reply.request
        details: dict[str, Any] = {}
        if finish:
            details["finish_reason"] = "eos_token" if finish == "stop" else finish
        details |= {"generated_tokens": count, "first_token_cost": None, "decode_cost": None}
        details |= {
            "batch_size": step_batches(request)[-1],
            "queue_wait_time": waits_us(request)[-1],
        }
        return {
            "id": request.id,
            "model_name": self.reply.model,
            "model_version": None,
            "text_output": text,
            "details": details,
            **_step_times(request),
        }


class GenerateChunks(_Chunks):
    """vLLM's `/generate`: what is new, and nothing else."""

    def event(
        self, text: str, count: int, ids: list[int], finish: str | None, usage: Usage | None
    ) -> dict[str, Any]:
        return {"text": [text]}


def step_batches(request: EngineRequest) -> list[int]:
    """The batch size of each step that gave the request a token."""
    return [batch for _, _, batch in request.steps or ()]


def waits_us(request: EngineRequest) -> list[int]:
    """Before each of those steps, µs the request had waited: since it came, or since its token."""
    waits, ready_ns = [], request.arrival_ns
    for position, (start_ns, end_ns, _) in enumerate(request.steps or ()):
        began_ns = request.scheduled_ns if position == 0 else start_ns
        waits.append(max(0, (began_ns or start_ns) - ready_ns) // 1000)
        ready_ns = end_ns
    return waits


def steps_ms(request: EngineRequest) -> list[float]:
    """The time of each of those steps; the first is the whole prefill."""
    times = [(end_ns - start_ns) / 1e6 for start_ns, end_ns, _ in request.steps or ()]
    if times and request.first_ns is not None and request.scheduled_ns is not None:
        times[0] = (request.first_ns - request.scheduled_ns) / 1e6
    return times


def _step_times(request: EngineRequest) -> dict[str, Any]:
    times = steps_ms(request)
    prefill = len(times) == 1
    newest = round(times[-1], 2)
    return {"prefill_time": newest if prefill else None, "decode_time": None if prefill else newest}


def _whole_tgi(
    reply: Reply, text: str, finish: str, ids: Sequence[int] | None, usage: Usage | None
) -> dict[str, Any]:
    details = TgiChunks(reply).details(reply.request.output_tokens, finish, usage)
    return {"generated_text": text, "details": details}


def _whole_triton(
    reply: Reply, text: str, finish: str, ids: Sequence[int] | None, usage: Usage | None
) -> dict[str, Any]:
    details = TgiChunks(reply).details(reply.request.output_tokens, finish, None)
    details |= {"first_token_cost": None, "decode_cost": None}
    head = {"id": reply.request.id, "model_name": reply.model, "model_version": None}
    return {**head, "text_output": text, "details": details}


def _whole_generate(
    reply: Reply, text: str, finish: str, ids: Sequence[int] | None, usage: Usage | None
) -> dict[str, Any]:
    return {"text": [text]}


def _translate(name: str, stream: bool | None, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fields of TGI's kind as OpenAI's; `stream` None leaves it to the body."""
    parameters = body.get("parameters") or {}
    if not isinstance(parameters, Mapping):
        raise bad_body("{'loc': 'body.parameters'}", "body.parameters")
    return {
        "prompt": body.get(name),
        "max_tokens": parameters.get("max_new_tokens", _DEFAULT_NEW_TOKENS),
        "temperature": parameters.get("temperature"),
        "stream": body.get("stream") if stream is None else stream,
    }


def rules(output_cap: int | None) -> Rules:
    """None of these has a field for usage, a salt or the end of text, but vLLM's for the last."""
    return Rules(
        checks_model=False,
        newer_limit=False,
        ignore_eos=False,
        min_tokens=False,
        cache_salt=False,
        usage_always=True,
        continuous_usage=False,
        token_ids=False,
        output_cap=output_cap,
    )


def tgi_stream(output_cap: int | None = None) -> Endpoint:
    return Endpoint(
        "/generate_stream", False, TgiChunks, _whole_tgi, rules(output_cap),
        partial(_translate, "inputs", True), usage_beside=True, done=None,
    )  # fmt: skip


def infer(output_cap: int | None = None) -> Endpoint:
    return Endpoint(
        "/infer", False, InferChunks, _whole_tgi, rules(output_cap),
        partial(_translate, "inputs", None), usage_beside=True, done=None, timed=True,
    )  # fmt: skip


def triton_stream(output_cap: int | None = None) -> Endpoint:
    return Endpoint(
        "/v2/models/{model}/generate_stream", False, TritonChunks, _whole_triton,
        rules(output_cap), partial(_translate, "text_input", True),
        framing=Framing.SSE_TIGHT, usage_beside=True, done=None, timed=True,
    )  # fmt: skip


def generate(output_cap: int | None = None) -> Endpoint:
    return Endpoint(
        "/generate", False, GenerateChunks, _whole_generate,
        Rules(
            checks_model=False, newer_limit=False, min_tokens=False, cache_salt=False,
            continuous_usage=False, token_ids=False, output_cap=output_cap,
        ),
        framing=Framing.NUL, done=None,
    )  # fmt: skip
