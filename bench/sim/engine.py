"""An inference engine in virtual time: continuous batching over paged KV blocks.

After vLLM's V1 scheduler: one token budget per step for prefill chunks and decodes alike, running
requests before waiting ones, first come first served, the youngest preempted when blocks run out.
Nothing here waits or reads a clock: `Engine.step(now_ns)` says what one step does and how long it
takes, so that the same engine runs behind HTTP in wall time and a night of load in seconds.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bench.sim.blocks import KvBlocks, chain
from bench.sim.config import EngineConfig
from bench.sim.request import EngineRequest
from bench.sim.stats import EngineStats


@dataclass(frozen=True, slots=True)
class Step:
    """One step: each request of `emitted` gains one token at `end_ns`.

    Those that gained their last one have `finish_reason` set.
    """

    start_ns: int
    end_ns: int
    prefill_tokens: int
    decode_seqs: int
    emitted: list[EngineRequest]


class Engine:
    """Waiting queue, running batch, KV blocks.  Not thread-safe; one caller drives it."""

    def __init__(self, config: EngineConfig, stats: EngineStats | None = None) -> None:
        self.config = config
        self.stats = stats or EngineStats.with_bounds()
        self.blocks = KvBlocks(config.kv_blocks, config.prefix_caching)
        self.waiting: deque[EngineRequest] = deque()
        self.running: list[EngineRequest] = []
        self.slowdown = 1.0
        self._random = random.Random(config.seed)

    def restart(self) -> None:
        """Drop every request, the cache and the statistics, as a new process would."""
        self.waiting.clear()
        self.running.clear()
        self.stats = self.stats.anew()
        self.blocks = KvBlocks(self.config.kv_blocks, self.config.prefix_caching)

    @property
    def busy(self) -> bool:
        return bool(self.running or self.waiting)

    def submit(self, request: EngineRequest, now_ns: int) -> None:
        """Queue a request.  Raises ValueError when it can never fit the context."""
        if not 0 < request.prompt_tokens < self.config.context_tokens:
            raise ValueError(f"a prompt of {request.prompt_tokens} tokens does not fit")
        request.max_tokens = min(
            request.max_tokens, self.config.context_tokens - request.prompt_tokens
        )
        request.arrival_ns = now_ns
        request.chain = chain(request.prompt, self.config.block_tokens, request.salt)
        self.waiting.append(request)

    def abort(self, request: EngineRequest) -> None:
        """Drop a request that has not finished, wherever it is."""
        if request.finish_reason is not None:
            return
        for queue in (self.running, self.waiting):
            if request in queue:
                queue.remove(request)
                self._finish(request, "abort")
                return

    def step(self, now_ns: int) -> Step | None:
        """Do one step that starts at `now_ns`; None when there is nothing to do.

        It takes in what has arrived by then; an idle engine's begins with the next arrival.
        """
        if not self.busy:
            return None
        if not self.running:
            now_ns = max(now_ns, self.waiting[0].arrival_ns)
        emitted: list[EngineRequest] = []
        prefill, decodes, preempted = self._schedule_running(emitted)
        if not preempted:
            budget = self.config.max_num_batched_tokens - prefill - decodes
            prefill += self._admit(budget, now_ns, emitted)
        end_ns = now_ns + self._duration_ns(prefill, decodes)
        self._emit(emitted, now_ns, end_ns)
        self.stats.steps += 1
        self.stats.histograms["step_tokens"].observe(prefill + decodes)
        return Step(now_ns, end_ns, prefill, decodes, emitted)

    def _schedule_running(self, emitted: list[EngineRequest]) -> tuple[int, int, bool]:
        """Give the running requests their tokens: (prefill tokens, decodes, any preempted)."""
        budget = self.config.max_num_batched_tokens
        prefill = decodes = 0
        preempted = False
        for request in self.running:  # a preemption takes the last one off while this runs
            todo = request.known - request.computed
            tokens = min(todo, budget)
            if not tokens:
                break
            computed = request.computed + tokens
            if computed > request.capacity and not self._has_room(request, computed):
                preempted = True
                if not self._preempt_for(request, computed):
                    break
            request.computed = computed
            budget -= tokens
            if computed >= request.label_at:
                self._label(request)
            if tokens == todo:
                emitted.append(request)
            if todo == 1 and request.output_tokens:
                decodes += 1
            else:
                prefill += tokens
        return prefill, decodes, preempted

    def _admit(self, budget: int, now_ns: int, emitted: list[EngineRequest]) -> int:
        """Start waiting requests while seats, blocks and budget last; the prefill tokens given."""
        given = 0
        while self.waiting and budget > given and len(self.running) < self.config.max_num_seqs:
            request = self.waiting[0]
            if request.arrival_ns > now_ns:
                break  # the step makes up for lost time, and began before the request came
            size = self.config.block_tokens
            hits = self.blocks.lookup(request.chain, (request.known - 1) // size)
            tokens = min(request.known - len(hits) * size, budget - given)
            computed = len(hits) * size + tokens
            blocks = self.blocks.allocate(hits, -(-computed // size) - len(hits))
            if blocks is None:
                break
            self.waiting.popleft()
            self.running.append(request)
            request.blocks = blocks
            request.capacity = len(blocks) * size
            request.computed = computed
            request.label_at = (len(hits) + 1) * size
            if request.scheduled_ns is None:
                self._count_admission(request, len(hits) * size, now_ns)
            if computed >= request.label_at:
                self._label(request)
            if computed == request.known:
                emitted.append(request)
            given += tokens
        return given

    def _count_admission(self, request: EngineRequest, cached_tokens: int, now_ns: int) -> None:
        request.scheduled_ns = now_ns
        request.cached_tokens = cached_tokens
        if self.config.prefix_caching:
            self.stats.prefix_queries += request.prompt_tokens
            self.stats.prefix_hits += cached_tokens

    def _has_room(self, request: EngineRequest, tokens: int) -> bool:
        """Extend the request's blocks to hold `tokens`, when the pool has them."""
        size = self.config.block_tokens
        more = self.blocks.allocate((), -(-(tokens - request.capacity) // size))
        if more is None:
            return False
        request.blocks += more
        request.capacity = len(request.blocks) * size
        return True

    def _preempt_for(self, request: EngineRequest, tokens: int) -> bool:
        """Preempt from the youngest until `request` has room; False when it was itself the last."""
        while True:
            victim = self.running.pop()
            self._release(victim)
            victim.preemptions += 1
            self.stats.preemptions += 1
            self.waiting.appendleft(victim)
            if victim is request:
                return False
            if self._has_room(request, tokens):
                return True

    def _label(self, request: EngineRequest) -> None:
        """Put the blocks that just became full into the prefix cache."""
        size = self.config.block_tokens
        full = request.computed // size
        self._extend_chain(request, full)
        for position in range(request.label_at // size - 1, full):
            self.blocks.label(request.blocks[position], request.chain[position])
        request.label_at = (full + 1) * size

    def _extend_chain(self, request: EngineRequest, full: int) -> None:
        """Hash the blocks beyond the prompt's own, up to `full` blocks."""
        size = self.config.block_tokens
        start = len(request.chain) * size
        end = full * size
        if start >= end:
            return
        in_reply = max(0, start - request.prompt_tokens)
        ids = [
            *request.prompt[start : request.prompt_tokens],
            *request.reply.ids(in_reply, end - request.prompt_tokens),
        ]
        parent = request.chain[-1] if request.chain else request.salt
        request.chain += chain(ids, size, parent)

    def _duration_ns(self, prefill_tokens: int, decode_seqs: int) -> int:
        config = self.config
        seconds = (
            config.step_s
            + config.prefill_token_s * prefill_tokens
            + config.decode_seq_s * decode_seqs
        )
        if config.noise_fraction:
            seconds *= max(0.1, 1 + self._random.gauss(0, config.noise_fraction))
        return round(seconds * self.slowdown * 1e9)

    def _emit(self, emitted: list[EngineRequest], start_ns: int, end_ns: int) -> None:
        """Give each of `emitted` its token, and finish those that have all of theirs."""
        itl = self.stats.histograms["itl_s"]
        gap_ns = -1
        times = 0
        done = []
        for request in emitted:
            request.output_tokens += 1
            request.known += 1
            if request.last_ns is None:
                self._count_first_token(request, end_ns)
            elif end_ns - request.last_ns == gap_ns:
                times += 1
            else:
                if times:
                    itl.observe(gap_ns / 1e9, times)
                gap_ns = end_ns - request.last_ns
                times = 1
            request.last_ns = end_ns
            if request.steps is not None:
                request.steps.append((start_ns, end_ns, len(emitted)))
            if request.output_tokens == request.max_tokens:
                done.append(request)
        if times:
            itl.observe(gap_ns / 1e9, times)
        self.stats.generation_tokens += len(emitted)
        if done:
            for request in done:
                self._finish(request, request.finish_as)
            self.running = [each for each in self.running if each.finish_reason is None]

    def _count_first_token(self, request: EngineRequest, end_ns: int) -> None:
        request.first_ns = end_ns
        self.stats.prompt_tokens += request.prompt_tokens
        self.stats.cached_tokens += request.cached_tokens
        self.stats.histograms["ttft_s"].observe((end_ns - request.arrival_ns) / 1e9)

    def _finish(self, request: EngineRequest, reason: str) -> None:
        request.finish_reason = reason
        self._release(request)
        self.stats.count_finished(request)

    def _release(self, request: EngineRequest) -> None:
        self.blocks.release(request.blocks)
        request.blocks = []
        request.capacity = request.computed = 0


def simulate(
    engine: Engine, requests: Iterable[tuple[int, EngineRequest]], start_ns: int = 0
) -> Iterator[Step]:
    """Run an engine in virtual time over (arrival_ns, request), ascending, until all are done."""
    now_ns = start_ns
    arrivals = iter(requests)
    following = next(arrivals, None)
    while True:
        while following is not None and following[0] <= now_ns:
            engine.submit(following[1], following[0])
            following = next(arrivals, None)
        step = engine.step(now_ns)
        if step is not None:
            now_ns = step.end_ns
            yield step
        elif following is not None:
            now_ns = following[0]
        else:
            return
