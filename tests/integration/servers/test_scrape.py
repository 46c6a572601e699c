"""The scraper on real sockets: what it keeps, and that nothing a target does disturbs it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from bench.model import ServerSample, Target
from bench.servers.client import ControlClient
from bench.servers.families import family_named
from bench.servers.family import allowed_names
from bench.servers.rows.vllm import VLLM
from bench.servers.scrape import SCRAPE_BYTES_MAX, ScrapeCount, Scraper, ScrapeTarget, next_tick
from bench.servers.series import DURATION, UP, histogram_delta, window_delta
from bench.servers.trial import ask
from bench.sim.config import SimConfig
from bench.sim.process import running_sim

Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]

TEXT = 'x_total{engine="0"} 3\nx_total{engine="0",server="a"} 9\nother 1\n'


@asynccontextmanager
async def serving(respond: Respond) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/metrics", respond)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/metrics"
    finally:
        await runner.cleanup()


def answering(body: str | bytes, status: int = 200, content_type: str = "text/plain") -> Respond:
    async def respond(request: web.Request) -> web.StreamResponse:
        content = body.encode() if isinstance(body, str) else body
        return web.Response(status=status, body=content, content_type=content_type)

    return respond


def scraped_once(respond: Respond) -> tuple[list[ServerSample], ScrapeCount]:
    async def run() -> tuple[list[ServerSample], ScrapeCount]:
        got: list[ServerSample] = []
        async with serving(respond) as url:
            target = ScrapeTarget("a", url, frozenset({"x_total"}), drop_labels=("server",))
            async with Scraper([target], 1.0, got.extend) as scraper:
                await scraper.scrape_once()
                return got, scraper.counts["a"]

    return asyncio.run(run())


def test_a_scrape_keeps_what_it_was_told_to_and_speaks_of_itself() -> None:
    """Other names and re-exported copies are left out; `up` and the duration stand beside."""
    before_ns = time.monotonic_ns()
    samples, count = scraped_once(answering(TEXT))
    after_ns = time.monotonic_ns()
    assert [(s.name, dict(s.labels), s.value) for s in samples[:-1]] == [
        ("x_total", {"engine": "0"}, 3.0),
        (UP, {}, 1.0),
    ]
    assert samples[-1].name == DURATION
    assert 0 < samples[-1].value <= (after_ns - before_ns) / 1e9
    assert len({sample.at_ns for sample in samples}) == 1
    assert before_ns < samples[0].at_ns < after_ns
    assert (count.done, count.failed) == (1, 0)


def test_ranks_that_tell_the_same_number_are_scraped_once() -> None:
    """Of SGLang's TP ranks the lowest is kept; DP ranks are different schedulers."""
    text = "".join(
        f'x_total{{tp_rank="{tp}",dp_rank="{dp}"}} {tp}\n' for tp, dp in ((1, 0), (0, 0), (2, 1))
    )

    async def run() -> list[ServerSample]:
        got: list[ServerSample] = []
        async with serving(answering(text)) as url:
            target = ScrapeTarget("a", url, frozenset({"x_total"}), rank_labels=("tp_rank",))
            async with Scraper([target], 1.0, got.extend) as scraper:
                await scraper.scrape_once()
        return got

    assert [s.value for s in asyncio.run(run()) if s.name == "x_total"] == [0.0, 2.0]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_page_is_read(encoding: str) -> None:
    """A gateway that compresses what it passes on changes no sample."""

    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.Response(body=TEXT.encode(), content_type="text/plain")
        response.enable_compression(web.ContentCoding(encoding))
        return response

    samples, count = scraped_once(respond)
    assert [sample.value for sample in samples if sample.name == "x_total"] == [3.0]
    assert count.failed == 0


async def elsewhere(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/sleep")


async def torn(request: web.Request) -> web.StreamResponse:
    """Says it is compressed, and is not."""
    return web.Response(body=b"x_total 3\n", headers={"Content-Encoding": "gzip"})


@pytest.mark.parametrize(
    ("respond", "said"),
    [
        (elsewhere, "status 302"),
        (answering("MIES_SERVICE_MONITOR_MODE is not set", status=500), "status 500"),
        (answering("[]", content_type="application/json"), "JSON"),
        (answering(b"# " + b"x" * SCRAPE_BYTES_MAX), "more than 8 MiB"),
        (answering(""), "empty body"),
        (answering("<html>", content_type="text/html"), "HTML"),
        (answering("Unauthorized", status=401), "status 401"),
        (torn, "ClientPayloadError"),
    ],
    ids=["redirect", "status", "json", "huge", "empty", "html", "key", "torn"],
)
def test_a_failed_scrape_is_counted_and_shown_as_down(respond: Respond, said: str) -> None:
    """A failure is `up` 0 and a count with its reason; no exception, no stale value."""
    samples, count = scraped_once(respond)
    assert [(s.name, s.value) for s in samples[:1]] == [(UP, 0.0)]
    assert "x_total" not in {sample.name for sample in samples}
    assert (count.done, count.failed) == (0, 1)
    assert count.last_error is not None
    assert said in count.last_error


def test_a_target_that_is_away_disturbs_no_other() -> None:
    """One dead target of two: the live one's samples still come, tick after tick."""

    async def run() -> tuple[dict[str, ScrapeCount], list[ServerSample]]:
        got: list[ServerSample] = []
        enough = asyncio.Event()

        def take(samples: Sequence[ServerSample]) -> None:
            got.extend(samples)
            if sum(sample.name == "x_total" for sample in got) >= 3:
                enough.set()

        async with serving(answering(TEXT)) as url:
            targets = [
                ScrapeTarget("dead", "http://127.0.0.1:1/metrics", frozenset({"x_total"})),
                ScrapeTarget("alive", url, frozenset({"x_total"}), drop_labels=("server",)),
            ]
            async with Scraper(targets, 0.01, take) as scraper:
                task = asyncio.create_task(scraper.run())
                await enough.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                return scraper.counts, got

    counts, samples = asyncio.run(run())
    assert counts["alive"].failed == 0
    assert counts["dead"].failed >= 1
    instants = [sample.at_ns for sample in samples if sample.name == "x_total"]
    assert instants == sorted(instants)


def test_a_slow_target_is_asked_less_often_and_never_twice_at_once() -> None:
    """Ticks that pass while an answer is awaited are counted as missed, not caught up."""

    async def run() -> tuple[int, ScrapeCount]:
        running = most = answered = 0
        twice = asyncio.Event()

        async def respond(request: web.Request) -> web.StreamResponse:
            nonlocal running, most, answered
            running += 1
            most = max(most, running)
            for _ in range(20):
                await asyncio.sleep(0)
            running -= 1
            answered += 1
            if answered == 2:
                twice.set()
            return web.Response(body=TEXT)

        async with serving(respond) as url:
            target = ScrapeTarget("slow", url, frozenset({"x_total"}))
            nanosecond = 1e-9  # so that any answer takes longer than the interval
            async with Scraper([target], nanosecond, lambda samples: None) as scraper:
                task = asyncio.create_task(scraper.run())
                await twice.wait()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                return most, scraper.counts["slow"]

    most, count = asyncio.run(run())
    assert most == 1
    assert count.missed > count.done


@given(start=st.integers(0, 10**12), interval=st.integers(1, 10**10), late=st.integers(0, 10**12))
def test_the_next_tick_is_the_first_after_now(start: int, interval: int, late: int) -> None:
    """The schedule is absolute: a late scrape shifts none of the later ones."""
    now = start + late
    tick = next_tick(start, interval, now)
    assert start + tick * interval > now >= start + (tick - 1) * interval


def test_two_targets_can_not_share_a_source() -> None:
    """Samples of two endpoints under one name could not be told apart."""
    target = ScrapeTarget("a", "http://127.0.0.1:1/metrics", frozenset())
    with pytest.raises(ValueError, match="same source"):
        Scraper([target, target], 1.0, lambda samples: None)


def test_a_window_of_the_simulated_server_balances_with_what_was_asked() -> None:
    """Between two scrapes the counters grow by exactly the requests and tokens of that window."""

    async def run(url: str) -> tuple[list[ServerSample], int, int]:
        got: list[ServerSample] = []
        target = Target(url, "sim")
        scrape = ScrapeTarget("server", f"{url}/metrics", allowed_names([VLLM]))
        async with ControlClient(target) as client, Scraper([scrape], 1.0, got.extend) as scraper:
            style = family_named("vllm").style
            await ask(client, target, "before the window", 4, style)
            await scraper.scrape_once()
            shapes = [(await ask(client, target, f"request {i}", 7, style)).shape for i in range(3)]
            await scraper.scrape_once()
        prompts = [shape.prompt_tokens or 0 for shape in shapes if shape is not None]
        outputs = [shape.output_tokens or 0 for shape in shapes if shape is not None]
        return got, sum(prompts), sum(outputs)

    with running_sim(SimConfig(port=0)) as sim:
        samples, prompt_tokens, output_tokens = asyncio.run(run(sim.url))
    assert output_tokens == 21
    assert window_delta(samples, "vllm:generation_tokens_total").value == output_tokens
    assert window_delta(samples, "vllm:prompt_tokens_total").value == prompt_tokens
    assert window_delta(samples, "vllm:request_success_total").value == 3
    ttft = histogram_delta(samples, "vllm:time_to_first_token_seconds")
    assert ttft is not None
    assert ttft.count == 3
    assert ttft.mean is not None
    assert 0 < ttft.mean < 60
