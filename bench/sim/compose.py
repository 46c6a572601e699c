"""Which events each token of a stream makes.  Pure: tokens in, JSON payloads out."""

from __future__ import annotations

from bench.sim.api import Chunks, Endpoint, Usage, Wants
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
        self,
        endpoint: Endpoint,
        chunks: Chunks,
        wants: Wants,
        shape: StreamShape,
        block_tokens: int,
    ) -> None:
        self._endpoint = endpoint
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
        if request.output_tokens == 1 and (role := self._chunks.role()) is not None:
            events += [role] * shape.role_frames
        carried = 0
        if shape.zero_tokens:
            events += self._nothing(request)
        elif finish or request.output_tokens % shape.tokens_per_event == 0:
            carried = (request.output_tokens - 1) % shape.tokens_per_event + 1
            events.append(self._token_event(request, request.output_tokens - carried))
        if finish:
            events += self._closing(request, finish)
        return events, carried

    def _nothing(self, request: EngineRequest) -> list[bytes]:
        """An answer without a token: a finish reason where it stands beside one."""
        if self._endpoint.finish_alone:
            return []
        return [self._chunks.token(b"", 0, finish="stop", usage=self._usage_beside(request))]

    def _closing(self, request: EngineRequest, finish: str) -> list[bytes]:
        """What follows the last token's event."""
        own = self._wants.usage and not self._beside and self._shape.usage != "none"
        events = self._chunks.closing(
            finish, self._usage_beside(request), self._usage(request) if own else None
        )
        if self._shape.done and self._endpoint.done is not None:
            events.append(self._endpoint.done)
        return events

    def _token_event(self, request: EngineRequest, first: int) -> bytes:
        shape = self._shape
        end = request.output_tokens
        finish = request.finish_reason
        field = shape.first_field if end <= shape.field_tokens else "content"
        if finish and field == "tool_calls":
            finish = "tool_calls"
        ends_here = bool(finish) and not self._endpoint.finish_alone
        payload = self._chunks.token(
            self._text(request, first, end),
            end,
            ids_of(request, first, end),
            field=field,
            finish=finish if ends_here else None,
            usage=self._usage_beside(request) if ends_here else None,
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

    @property
    def _beside(self) -> bool:
        """Whether the usage stands in the event with the finish reason."""
        return self._endpoint.usage_beside or self._shape.usage == "finish"

    def _usage(self, request: EngineRequest) -> Usage:
        count = 0 if self._shape.zero_tokens else request.output_tokens
        return usage_of(request, count, self._shape, self._block_tokens)

    def _usage_beside(self, request: EngineRequest) -> Usage | None:
        wanted = self._wants.usage and self._beside and self._shape.usage != "none"
        return self._usage(request) if wanted else None
