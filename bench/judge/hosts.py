"""Hosts and their networks (metric system §6): what node_exporter says over the window."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from bench.judge.metric import Absence, Kind, Measured, Metric, Reading, absent, exact
from bench.judge.server_view import Gauge, Growth, ServerView

_IDLE = ("idle", "iowait")
_LOOPBACK = "lo"

_Device = tuple[str, str]


def host_cpu_fraction(measured: Measured) -> Reading:
    """Share of CPU time that was neither idle nor waiting for I/O."""
    grown = measured.server.growth("host_cpu_s")
    total = sum(each.value for each in grown)
    if total <= 0:
        return absent(Absence.NOT_SCRAPED)
    idle = sum(each.value for each in grown if each.labels.get("mode") in _IDLE)
    return exact(1 - idle / total, len({each.source for each in grown}))


def host_memory_fraction(measured: Measured) -> Reading:
    free = _by_source(measured.server.gauge("host_memory_available_bytes"))
    total = _by_source(measured.server.gauge("host_memory_total_bytes"))
    shares = [1 - free[host] / total[host] for host in free.keys() & total.keys() if total[host]]
    return exact(float(np.mean(shares)), len(shares)) if shares else absent(Absence.NOT_SCRAPED)


def network_bytes_per_s(measured: Measured) -> Reading:
    rates = _rates(measured.server)
    return exact(max(rates.values()), len(rates)) if rates else absent(Absence.NOT_SCRAPED)


def network_fraction(measured: Measured) -> Reading:
    """A device whose link speed is not known (loopback, tunnels) has no share."""
    speeds = {
        (gauge.source, gauge.labels.get("device", "")): gauge.mean
        for gauge in measured.server.gauge("host_link_bytes_per_s")
    }
    shares = [rate / speeds[d] for d, rate in _rates(measured.server).items() if _known(speeds, d)]
    return exact(max(shares), len(shares)) if shares else absent(Absence.NOT_SCRAPED)


def _known(speeds: Mapping[_Device, float], device: _Device) -> bool:
    return speeds.get(device, 0.0) > 0


def _rates(server: ServerView) -> dict[_Device, float]:
    """Bytes per second in the busier direction of each network device of each host."""
    rates: dict[_Device, float] = {}
    for series in ("host_receive_bytes", "host_transmit_bytes"):
        for device, rate in _per_device(server.growth(series)):
            rates[device] = max(rate, rates.get(device, 0.0))
    return rates


def _per_device(grown: Iterable[Growth]) -> Iterable[tuple[_Device, float]]:
    for each in grown:
        device = each.labels.get("device", "")
        if device != _LOOPBACK:
            yield (each.source, device), each.value / each.length_s


def _by_source(gauges: Iterable[Gauge]) -> dict[str, float]:
    return {gauge.source: gauge.mean for gauge in gauges}


_APPLIES = "hosts with node_exporter"

HOSTS: tuple[Metric, ...] = (
    Metric(
        name="host_cpu_fraction",
        title_zh="主机 CPU 利用率",
        title_en="Host CPU in use",
        unit="fraction",
        formula="1 − Δ(idle + iowait) / Δ CPU time, over hosts and cores",
        formula_zh="1 − Δ(idle + iowait) / Δ CPU 时间，对所有主机与核求和",
        applies_to=_APPLIES,
        direction="none",
        source="§5.3.3 (60–80 %)",
        run=host_cpu_fraction,
        kind=Kind.EXACT,
        ideal=(0.6, 0.8),
    ),
    Metric(
        name="host_memory_fraction",
        title_zh="主机内存占用率",
        title_en="Host memory in use",
        unit="fraction",
        formula="1 − available / total, mean over the scrapes and hosts",
        formula_zh="1 − 可用 / 总量，对采样与主机取均值",
        applies_to=_APPLIES,
        direction="none",
        source="§5.3.3 (70–85 %)",
        run=host_memory_fraction,
        kind=Kind.EXACT,
        ideal=(0.7, 0.85),
    ),
    Metric(
        name="network_fraction",
        title_zh="网络带宽利用率",
        title_en="Network bandwidth in use",
        unit="fraction",
        formula="network_bytes_per_s / speed of that link, of the busiest link",
        formula_zh="network_bytes_per_s / 链路速率，取最忙的链路",
        applies_to="hosts with node_exporter that states the link's speed",
        direction="none",
        source="§5.3.3 (60–80 %)",
        run=network_fraction,
        kind=Kind.EXACT,
        ideal=(0.6, 0.8),
    ),
    Metric(
        name="network_bytes_per_s",
        title_zh="网络吞吐量",
        title_en="Network throughput",
        unit="bytes/s",
        formula="Δ bytes / time, the busier direction of the busiest device, loopback left out",
        formula_zh="Δ 字节 / 时间，取最忙设备中较忙的方向，不含回环",
        applies_to=_APPLIES,
        direction="none",
        source="§5.3.3",
        run=network_bytes_per_s,
        kind=Kind.EXACT,
    ),
)
