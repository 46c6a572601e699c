"""Which events each token of a stream makes.  Pure: tokens in, JSON payloads out."""

from __future__ import annotations

from bench.sim import dialect_vllm as dialect
from bench.sim.dialect_vllm import Chunks, Form, Usage, Wants
from bench.sim.request import EngineRequest
from bench.sim.shape import StreamShape
from bench.sim.tokens import EOS_ID

_WIDE = tuple(word.encode() for word in (" 推理", " größe", " ключ", " 🚀"))


def usage_of(request: EngineRequest, output_tokens: int, shape: StreamShape, block: int) -> Usage:
    """The final account of a request, as the shape has it told."""
    full = request.prompt_tokens // block * block
    return Usage(
        prompt=request.prompt_tokens,
        output=output_tokens + shape.count_offset,
        cached=request.cached_tokens,
        created=max(0, full - request.cached_tokens),
    )


def word_of(request: EngineRequest, position: int) -> bytes:
    """Text of a token; the one that ends a reply by itself is the end mark, without text."""
    if request.finish_reason == "stop" and position == request.output_tokens - 1:
        return b""
    return request.reply.word(position)


def ids_of(request: EngineRequest, first: int, end: int) -> list[int]:
    """Ids of the tokens from position `first` up to, not including, `end`."""
    ids = request.reply.ids(first, end)
    if request.finish_reason == "stop" and end == request.output_tokens:
        ids[-1] = EOS_ID
    return ids


class Composer:
    """Makes the payloads of one stream's events, in the shape asked for."""

    def __init__(
        self, form: Form, chunks: Chunks, wants: Wants, shape: StreamShape, block_tokens: int
    ) -> None:
        self._form = form
        self._chunks = chunks
        self._wants = wants
        self._shape = shape
        self._block_tokens = block_tokens
        self._owed = b""  # text of tokens sent with none

    def events(self, request: EngineRequest) -> tuple[list[bytes], int]:
        """Payloads for the newest token of `request`, and how many tokens they carry."""
        shape = self._shape
        finish = request.finish_reason
        events: list[bytes] = []
        if request.output_tokens == 1 and self._form.chat:
            events += [self._chunks.role()] * shape.role_frames
        carried = 0
        if shape.zero_tokens:
            usage = self._usage_beside(request, 0)
            events.append(self._chunks.token(b"", 0, finish="stop", usage=usage))
        elif finish or request.output_tokens % shape.tokens_per_event == 0:
            carried = (request.output_tokens - 1) % shape.tokens_per_event + 1
            events.append(self._token_event(request, request.output_tokens - carried))
        if finish:
            if self._wants.usage and shape.usage == "own":
                count = 0 if shape.zero_tokens else request.output_tokens
                events.append(self._chunks.usage(self._usage(request, count)))
            if shape.done:
                events.append(dialect.DONE)
        return events, carried

    def _token_event(self, request: EngineRequest, first: int) -> bytes:
        shape = self._shape
        end = request.output_tokens
        finish = request.finish_reason
        field = shape.first_field if end <= shape.field_tokens else "content"
        if finish and field == "tool_calls":
            finish = "tool_calls"
        payload = self._chunks.token(
            self._text(request, first, end),
            end,
            ids_of(request, first, end),
            field=field,
            finish=finish,
            usage=self._usage_beside(request, end) if finish else None,
        )
        if shape.spoiler == "huge" and first <= shape.after < end:
            return b'%b,"routed_experts":"%b"}' % (payload[:-1], b"A" * int(shape.event_bytes))
        return payload

    def _text(self, request: EngineRequest, first: int, end: int) -> bytes:
        shape = self._shape
        if shape.split_utf8:
            text = b"".join(_WIDE[position % len(_WIDE)] for position in range(first, end))
        else:
            text = b"".join(word_of(request, position) for position in range(first, end))
        if not shape.empty_text:
            return text
        if first % 2 == 0 and request.finish_reason is None:
            self._owed += text
            return b""
        text, self._owed = self._owed + text, b""
        return text

    def _usage(self, request: EngineRequest, output_tokens: int) -> Usage:
        return usage_of(request, output_tokens, self._shape, self._block_tokens)

    def _usage_beside(self, request: EngineRequest, output_tokens: int) -> Usage | None:
        return self._usage(request, output_tokens) if self._shape.usage == "finish" else None
