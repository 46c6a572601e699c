"""Resources and cost (metric system §6): scraped means over the window, prices of the profile."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bench.judge.metric import (
    SECONDS,
    Absence,
    Kind,
    Measured,
    Metric,
    Reading,
    Text,
    absent,
    exact,
)
from bench.judge.server_view import Gauge
from bench.judge.stats import Estimate
from bench.judge.throughput import goodput_tps, output_tps, request_rps

_S_PER_HOUR = 3600.0


def _mean_of(series: str) -> Callable[[Measured], Reading]:
    """Mean over sources of the mean of each one's readings."""

    def read(measured: Measured) -> Reading:
        means = [t.mean for t in measured.server.gauge(series) if not math.isnan(t.mean)]
        if not means:
            return absent(Absence.NOT_SCRAPED)
        return exact(float(np.mean(means)), len(means))

    return read


def kv_usage_max_fraction(measured: Measured) -> Reading:
    finite = [t.values[np.isfinite(t.values)] for t in measured.server.gauge("kv_usage_fraction")]
    peaks = [float(values.max()) for values in finite if len(values)]
    if not peaks:
        return absent(Absence.NOT_SCRAPED)
    return exact(max(peaks), sum(map(len, finite)))


def device_memory_fraction(measured: Measured) -> Reading:
    """The fullest device, mean over the window."""
    stated = [t.mean for t in measured.server.gauge("device_memory_utilization_fraction")]
    used, free, total = (
        {_device(t): t.mean for t in measured.server.gauge(f"device_memory_{part}_bytes")}
        for part in ("used", "free", "total")
    )
    sizes = {device: used[device] + free[device] for device in used.keys() & free.keys()} | total
    shares = stated + [used[d] / sizes[d] for d in used.keys() & sizes.keys() if sizes[d] > 0]
    known = [share for share in shares if math.isfinite(share)]
    return exact(max(known), len(known)) if known else absent(Absence.NOT_SCRAPED)


def _device(reading: Gauge) -> tuple[str, tuple[tuple[str, str], ...]]:
    """What tells a device from others: two hosts may number theirs alike."""
    return reading.source, tuple(sorted(reading.labels.items()))


def device_temperature_c(measured: Measured) -> Reading:
    """The hottest reading of any device."""
    found = [t.values[np.isfinite(t.values)] for t in measured.server.gauge("device_temperature_c")]
    known = [values for values in found if len(values)]
    if not known:
        return absent(Absence.NOT_SCRAPED)
    return exact(max(float(values.max()) for values in known), sum(map(len, known)))


def power_w(measured: Measured) -> Reading:
    """Mean power, summed over devices."""
    means = [t.mean for t in measured.server.gauge("device_power_w") if not math.isnan(t.mean)]
    return exact(sum(means), len(means)) if means else absent(Absence.NOT_SCRAPED)


def energy_per_token_j(measured: Measured) -> Reading:
    """From energy counters where every device with a power reading has one."""
    power, rate = power_w(measured), output_tps(measured)
    counted = measured.server.growth("device_energy_j")
    if counted and len(counted) >= (0 if power.absent else power.estimate.n):
        return _per(sum(each.value / each.length_s for each in counted), rate, 1.0)
    if power.absent:
        return power
    return _per(power.estimate.value, rate, 1.0)


def preemptions(measured: Measured) -> Reading:
    count = measured.server.increase("preemptions").value
    return absent(Absence.NOT_SCRAPED) if count is None else exact(count, 1)


def server_restarts(measured: Measured) -> Reading:
    count = measured.server.restarts()
    return absent(Absence.NOT_SCRAPED) if count is None else exact(float(count), 1)


def cost_per_request(measured: Measured) -> Reading:
    return _cost(measured, request_rps, 1.0)


def cost_per_1k_tokens(measured: Measured) -> Reading:
    return _cost(measured, output_tps, 1e3)


def cost_per_1m_good_tokens(measured: Measured) -> Reading:
    return _cost(measured, goodput_tps, 1e6)


def _cost(measured: Measured, rate: Callable[[Measured], Reading], units: float) -> Reading:
    prices = measured.profile.prices if measured.profile else None
    if prices is None:
        return absent(Absence.NO_PRICE)
    per_s = prices.accelerators * prices.per_accelerator_hour / _S_PER_HOUR
    return _per(per_s, rate(measured), units)


def _per(amount_per_s: float, rate: Reading, units: float) -> Reading:
    """What `units` of a rate take; the interval's ends change places."""
    found = rate.estimate
    if rate.absent or not found.value > 0:
        return rate if rate.absent else absent(Absence.NO_SAMPLES)
    scaled = amount_per_s * units
    high = scaled / found.low if found.low > 0 else math.inf
    return Reading(Estimate(scaled / found.value, scaled / found.high, high, found.n))


def _scraped(
    name: str,
    title: Text,
    formula: Text,
    source: str,
    ideal: tuple[float, float] | None = None,
) -> Metric:
    """A row for a gauge that is shown as its mean."""
    return Metric(
        name=name,
        title_zh=title.zh,
        title_en=title.en,
        unit="fraction",
        formula=formula.en,
        formula_zh=formula.zh,
        applies_to="servers and exporters that expose it",
        direction="none",
        source=source,
        run=_mean_of(name),
        kind=Kind.EXACT,
        ideal=ideal,
    )


RESOURCES: tuple[Metric, ...] = (
    _scraped(
        "device_utilization_fraction",
        Text("加速卡利用率", "Accelerator utilisation"),
        Text("对设备与采样取均值", "mean over devices and scrapes"),
        "§5.3.3 (SM 80–95 %)",
        ideal=(0.8, 0.95),
    ),
    _scraped(
        "kv_usage_fraction",
        Text("KV 缓存使用率", "KV cache usage"),
        Text("对引擎与采样取均值", "mean over engines and scrapes"),
        "§5.3.3",
    ),
    Metric(
        name="kv_usage_max_fraction",
        title_zh="KV 缓存使用率峰值",
        title_en="Peak KV cache usage",
        unit="fraction",
        formula="highest scraped value of any engine",
        formula_zh="任一引擎采样的最大值",
        applies_to="servers that expose it",
        direction="lower",
        source="§4.5.4, §7.4.2 (alert 95 %)",
        run=kv_usage_max_fraction,
        kind=Kind.EXACT,
    ),
    Metric(
        name="device_memory_fraction",
        title_zh="加速卡显存占用率",
        title_en="Accelerator memory in use",
        unit="fraction",
        formula="used / (used + free), mean over the window of the fullest device",
        formula_zh="已用 /（已用 + 空闲），取窗口内均值最高的设备",
        applies_to="devices with an exporter",
        direction="lower",
        source="§5.3.3 (70–90 %)",
        run=device_memory_fraction,
        kind=Kind.EXACT,
        ideal=(0.7, 0.9),
    ),
    Metric(
        name="device_temperature_c",
        title_zh="加速卡最高温度",
        title_en="Highest accelerator temperature",
        unit="°C",
        formula="highest scraped value of any device",
        formula_zh="任一设备采样的最大值",
        applies_to="devices with an exporter",
        direction="lower",
        source="metric system §6",
        run=device_temperature_c,
        kind=Kind.EXACT,
    ),
    Metric(
        name="power_w",
        title_zh="功率",
        title_en="Power",
        unit="W",
        formula="mean over the scrapes, summed over devices",
        formula_zh="对采样取均值，对设备求和",
        applies_to="devices with an exporter",
        direction="lower",
        source="§5.3.3, §11.5.1",
        run=power_w,
        kind=Kind.EXACT,
    ),
    Metric(
        name="energy_per_token_j",
        title_zh="每 Token 能耗",
        title_en="Energy per output token",
        unit="J",
        formula="(Δ energy / time of its counters, else mean power) / output token throughput",
        formula_zh="(计数器的 Δ 能量 / 时间，否则平均功率) / 输出 Token 吞吐量",
        applies_to="devices with an exporter",
        direction="lower",
        source="§5.4.3",
        run=energy_per_token_j,
        kind=Kind.RATE,
        samples=SECONDS,
    ),
    Metric(
        name="preemptions",
        title_zh="抢占次数",
        title_en="Preemptions",
        unit="1",
        formula="Δ preemptions over the window's scrapes",
        formula_zh="窗口采样内 Δ 抢占次数",
        applies_to="servers that count them",
        direction="lower",
        source="metric system §4",
        run=preemptions,
        kind=Kind.EXACT,
    ),
    Metric(
        name="server_restarts",
        title_zh="服务端重启次数",
        title_en="Server restarts",
        unit="1",
        formula="counter resets or changes of the process start time over the window's scrapes",
        formula_zh="窗口采样内计数器归零或进程启动时刻改变的次数",
        applies_to="servers with metrics",
        direction="lower",
        source="deployment solution §8",
        run=server_restarts,
        kind=Kind.EXACT,
    ),
    Metric(
        name="cost_per_request",
        title_zh="单请求成本",
        title_en="Cost per request",
        unit="currency",
        formula="accelerators × price per hour / 3600 / request_rps",
        formula_zh="加速卡数 × 每卡时价格 / 3600 / request_rps",
        applies_to="profiles with prices",
        direction="lower",
        source="§5.4.3, §5.6.3",
        run=cost_per_request,
        kind=Kind.RATE,
        samples=SECONDS,
        needs="prices",
    ),
    Metric(
        name="cost_per_1k_tokens",
        title_zh="每千 Token 成本",
        title_en="Cost per 1,000 output tokens",
        unit="currency",
        formula="1,000 × accelerators × price per hour / 3600 / output_tps",
        formula_zh="1,000 × 加速卡数 × 每卡时价格 / 3600 / output_tps",
        applies_to="profiles with prices",
        direction="lower",
        source="§5.4.3",
        run=cost_per_1k_tokens,
        kind=Kind.RATE,
        samples=SECONDS,
        needs="prices",
    ),
    Metric(
        name="cost_per_1m_good_tokens",
        title_zh="每百万有效 Token 成本",
        title_en="Cost per million good tokens",
        unit="currency",
        formula="10⁶ × accelerators × price per hour / 3600 / goodput_tps",
        formula_zh="10⁶ × 加速卡数 × 每卡时价格 / 3600 / goodput_tps",
        applies_to="profiles with prices and a good set",
        direction="lower",
        source="§5.4.3",
        run=cost_per_1m_good_tokens,
        kind=Kind.RATE,
        samples=SECONDS,
        needs="prices",
    ),
)
