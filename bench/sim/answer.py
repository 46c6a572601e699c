"""One request's way through the server: from its body to the last byte of its answer."""

from __future__ import annotations

import asyncio
import gzip
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from aiohttp import HttpVersion11, web

from bench.errors import UsageError
from bench.sim.api import ApiError, Endpoint, Family, Reply, bad_field
from bench.sim.compose import Composer, ids_of, usage_of, word_of
from bench.sim.config import SimConfig
from bench.sim.driver import Driver
from bench.sim.faults import HEADER, FaultPlan
from bench.sim.intake import Ask, read_ask, read_json
from bench.sim.request import EngineRequest
from bench.sim.shape import SOUND, StreamShape
from bench.sim.stream import Sink, Stream, Whole, reset
from bench.sim.truth import TruthRecord, TruthRow

_FAULT_BODIES = {
    "json": ("application/json", b'{"error":{"message":"simulated","type":"Simulated","code":%d}}'),
    "string": ("application/json", b'{"error":"simulated %d"}'),
    "html": ("text/html", b"<html><body><h1>%d simulated</h1></body></html>\r\n"),
    "plain": ("text/plain", b"%d simulated\r\n"),
}
_CUT_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/ev"
_RANK_HEADER = "X-data-parallel-rank"


class _LeftEarly(Exception):
    """The client closed its connection before its answer began."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One accepted request."""

    ask: Ask
    shape: StreamShape
    driver: Driver
    request: EngineRequest
    received_ns: int


class Answering:
    """Answers generation requests with these engines, under these faults, and records the truth."""

    def __init__(
        self,
        family: Family,
        config: SimConfig,
        drivers: Sequence[Driver],
        faults: FaultPlan,
        truth: TruthRecord,
    ) -> None:
        self._family = family
        self._headers = {"Server": family.server_header}
        self._config = config
        self._drivers = drivers
        self._faults = faults
        self._truth = truth
        self._started_ns = time.monotonic_ns()
        self._turn = -1

    async def answer(self, http: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        """Answer a POST of one of the generation endpoints."""
        raw = await http.read()
        received_ns = time.monotonic_ns()
        request_id = http.headers.get("X-Request-Id") or secrets.token_hex(8)
        shape = SOUND
        try:
            if http.version < HttpVersion11:
                raise ApiError(505, "HTTPVersionNotSupported", "HTTP/1.1 is needed")
            shape = self._shape(http, received_ns)
            early = await _instead(http, shape, self._headers)
            if early is None:
                ask = read_ask(read_json(raw, http.content_type), endpoint, self._config)
                driver = self._driver(http)
        except ApiError as refusal:
            early = refused(self._family, refusal)
        if early is not None:
            status = None if shape.refusing else early.status
            self._truth.add(TruthRow(request_id, received_ns, status=status, fault=shape.fault))
            return early
        request = _engine_request(request_id, ask, shape, self._config)
        job = _Job(ask, shape, driver, request, received_ns)
        streamed = ask.stream and not shape.ignore_stream
        try:
            response = await (self._stream(http, job) if streamed else self._whole(job))
        except _LeftEarly:
            self._truth.add(TruthRow(request_id, received_ns, finish="abort", fault=shape.fault))
            return web.Response()  # goes nowhere: the client has closed the connection
        if shape.close_silently:
            await response.prepare(http)
            await response.write_eof()
            if http.transport is not None:
                http.transport.close()
        return response

    async def _stream(self, http: web.Request, job: _Job) -> web.StreamResponse:
        ask, shape = job.ask, job.shape
        endpoint = ask.endpoint
        response = web.StreamResponse(
            headers={"Content-Type": endpoint.stream_type} | self._headers | _encoding(shape)
        )
        try:
            await response.prepare(http)
        except ConnectionResetError:
            raise _LeftEarly from None
        transport = http.transport
        if transport is None:
            raise _LeftEarly
        chunks = endpoint.chunks(self._reply(job))
        composer = Composer(endpoint, chunks, ask.wants, shape, self._config.block_tokens)
        plain = shape is SOUND and not (ask.wants.continuous_usage or ask.wants.token_ids)
        stream = Stream(transport, self._family, endpoint, chunks, composer, shape, plain=plain)
        await self._until_done(job, stream)
        return response

    def _reply(self, job: _Job) -> Reply:
        config = self._config
        created_s = int(time.time())
        return Reply(job.request, config.model, created_s, job.ask.wants, config.prefix_caching)

    async def _whole(self, job: _Job) -> web.StreamResponse:
        await self._until_done(job, Whole(job.shape))
        ask, shape, request = job.ask, job.shape, job.request
        count = 0 if shape.zero_tokens else request.output_tokens
        words = [word_of(request, position) for position in range(count)]
        usage = usage_of(request, count, shape, self._config.block_tokens)
        content = ask.endpoint.whole(
            self._reply(job),
            b"".join(words).decode(),
            str(request.finish_reason),
            ids_of(request, 0, count) if ask.wants.token_ids else None,
            None if shape.usage == "none" else usage,
        )
        body = orjson.dumps(content)
        if shape.gzip:
            body = gzip.compress(body)
        headers = {"Content-Type": "application/json"} | self._headers | _encoding(shape)
        return web.Response(body=body, headers=headers)

    async def _until_done(self, job: _Job, sink: Sink) -> None:
        """Run the request, and record its truth however it ends: done, broken off, client gone."""
        request = job.request
        if self._config.truth_tokens:
            sink.token_ns = []
        job.driver.submit(request, sink)
        try:
            await sink.done.wait()
        finally:
            job.driver.withdraw(request)
            sink.close()
            started = request.scheduled_ns is not None
            whole = sink.done.is_set() and not sink.broken
            head_sent = isinstance(sink, Stream) or sink.done.is_set()
            self._truth.add(
                TruthRow(
                    request.id,
                    job.received_ns,
                    first_ns=sink.first_ns,
                    last_ns=sink.last_ns,
                    prompt_tokens=request.prompt_tokens,
                    cached_tokens=request.cached_tokens if started else None,
                    output_tokens=sink.output_tokens,
                    queue_s=request.queue_s,
                    preemptions=request.preemptions,
                    status=200 if head_sent else None,
                    finish=request.finish_reason if whole else "abort",
                    fault=job.shape.fault,
                    replica=self._drivers.index(job.driver),
                    token_ns=sink.token_ns,
                )
            )

    def _shape(self, http: web.Request, received_ns: int) -> StreamShape:
        elapsed_s = (received_ns - self._started_ns) / 1e9
        try:
            return self._faults.shape(elapsed_s, http.headers.get(HEADER))
        except UsageError as error:
            raise bad_field(f"{error.message}; {error.hint}", HEADER) from None

    def _driver(self, http: web.Request) -> Driver:
        """The least loaded replica, in turn among equals, or the one the request names."""
        named = http.headers.get(_RANK_HEADER)
        if named is not None:
            if not named.isdigit() or int(named) >= len(self._drivers):
                raise bad_field(
                    f"{_RANK_HEADER} {named} is not one of the {len(self._drivers)} ranks"
                )
            return self._drivers[int(named)]
        self._turn += 1
        count = len(self._drivers)
        in_turn = [self._drivers[(self._turn + step) % count] for step in range(count)]
        return min(in_turn, key=lambda driver: driver.load)


def refused(family: Family, refusal: ApiError) -> web.Response:
    """The error answer of a refusal."""
    status, body = family.error(refusal)
    headers = {"Content-Type": "application/json", "Server": family.server_header}
    return web.Response(status=status, body=body, headers=headers)


async def _instead(
    http: web.Request, shape: StreamShape, server: dict[str, str]
) -> web.Response | None:
    """What the shape answers in place of the engine; None when the engine is to answer."""
    if shape.first_byte_delay_s:
        await asyncio.sleep(shape.first_byte_delay_s)
    if shape.refusing and http.transport is not None:
        if shape.refusing == "reset_mid_headers":
            http.transport.write(_CUT_HEAD)
        reset(http.transport)
        return web.Response()  # goes nowhere: the connection is closed
    if shape.status == 200:
        return None
    content_type, body = _FAULT_BODIES[shape.body]
    headers = {"Content-Type": content_type, **server}
    if shape.location:
        headers["Location"] = shape.location
    if shape.retry_after_s is not None:
        headers["Retry-After"] = f"{shape.retry_after_s:g}"
    return web.Response(status=shape.status, body=body % shape.status, headers=headers)


def _engine_request(
    request_id: str, ask: Ask, shape: StreamShape, config: SimConfig
) -> EngineRequest:
    max_tokens, finish_as = ask.max_tokens, ask.finish_as
    if shape.endless:
        max_tokens, finish_as = config.context_tokens, "length"
    elif shape.zero_tokens:
        max_tokens, finish_as = 1, "stop"
    request = EngineRequest(request_id, ask.prompt, max_tokens, finish_as=finish_as, salt=ask.salt)
    if ask.endpoint.timed or config.benchmark:
        request.steps = []
    return request


def _encoding(shape: StreamShape) -> dict[str, str]:
    return {"Content-Encoding": "gzip"} if shape.gzip else {}
