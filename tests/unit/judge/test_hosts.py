"""Hosts, networks and devices from scrapes whose answers are known by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.judge.judgement import judge
from bench.judge.metrics import METRICS

Scrape = tuple[float, str, str, dict[str, str], float]


def values(run: Any, scrapes: list[Scrape]) -> dict[str, Any]:
    """Metrics of the run with these scrapes: instant, source, name, labels, value."""
    run.labelled = scrapes
    found: dict[str, Any] = judge(run).summary["metrics"]
    return found


@pytest.fixture
def run(hand_run: Callable[..., Any], ok_row: Callable[..., Any]) -> Any:
    """Ten seconds of requests."""
    return hand_run([ok_row(float(k)) for k in range(10)])


def counter(name: str, source: str, labels: dict[str, str], grown: float) -> list[Scrape]:
    """A counter that grows by so much in the 10 s around the window."""
    return [(0.0, source, name, labels, 100.0), (10.0, source, name, labels, 100.0 + grown)]


def gauge(name: str, source: str, labels: dict[str, str], *readings: float) -> list[Scrape]:
    return [(float(k), source, name, labels, value) for k, value in enumerate(readings)]


def test_cpu_is_busy_when_neither_idle_nor_waiting(run: Any) -> None:
    """Two hosts of one core: 7 of 20 s in user and system, the rest idle or waiting."""
    modes = {"user": 5.0, "system": 2.0, "idle": 2.0, "iowait": 1.0}
    scrapes = [
        row
        for host, grown in (("a", modes), ("b", {"idle": 10.0}))
        for mode, more in grown.items()
        for row in counter("node_cpu_seconds_total", host, {"cpu": "0", "mode": mode}, more)
    ]
    row = values(run, scrapes)["host_cpu_fraction"]
    assert (row["value"], row["n"]) == (pytest.approx(0.35), 2)


def test_memory_is_what_is_not_available(run: Any) -> None:
    """A quarter of 8 GiB is available."""
    scrapes = gauge("node_memory_MemAvailable_bytes", "a", {}, 2 * 2**30, 2 * 2**30)
    scrapes += gauge("node_memory_MemTotal_bytes", "a", {}, 8 * 2**30, 8 * 2**30)
    assert values(run, scrapes)["host_memory_fraction"]["value"] == pytest.approx(0.75)


def test_the_busiest_link_counts_in_its_busier_direction(run: Any) -> None:
    """70 MB/s out of a 100 MB/s link; loopback is no link, and a tunnel has no speed."""
    sent, got = "node_network_transmit_bytes_total", "node_network_receive_bytes_total"
    scrapes = [
        *gauge("node_load1", "a", {}, 1.0),
        *counter(got, "a", {"device": "eth0"}, 1e8),
        *counter(sent, "a", {"device": "eth0"}, 7e8),
        *counter(sent, "a", {"device": "lo"}, 9e9),
        *counter(got, "b", {"device": "eth0"}, 5e8),
        *gauge("node_network_speed_bytes", "a", {"device": "eth0"}, 1e8, 1e8),
        *gauge("node_network_speed_bytes", "b", {"device": "eth0"}, 1e9, 1e9),
        *gauge("node_network_speed_bytes", "a", {"device": "tun0"}, -1.0, -1.0),
        *counter(sent, "a", {"device": "tun0"}, 1e6),
    ]
    found = values(run, scrapes)
    assert found["network_fraction"]["value"] == pytest.approx(0.7)
    assert found["network_bytes_per_s"]["value"] == pytest.approx(7e7)
    without = values(run, scrapes[:9])
    assert without["network_bytes_per_s"]["value"] == pytest.approx(7e7)
    assert without["network_fraction"]["value"] is None


def test_the_hottest_device_counts(run: Any) -> None:
    """One reading of 81 °C among cooler ones."""
    scrapes = gauge("DCGM_FI_DEV_GPU_TEMP", "d", {"gpu": "0"}, 60.0, 81.0, 70.0)
    scrapes += gauge("DCGM_FI_DEV_GPU_TEMP", "d", {"gpu": "1"}, 55.0)
    row = values(run, scrapes)["device_temperature_c"]
    assert (row["value"], row["n"]) == (81.0, 4)


def test_the_fullest_device_counts_whichever_host_it_is_of(run: Any) -> None:
    """Two hosts number their devices alike: 30 of 40 GiB on one, 10 of 40 on the other."""
    used, free = "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE"
    scrapes = [
        row
        for host, mib in (("a", 30_000.0), ("b", 10_000.0))
        for name, value in ((used, mib), (free, 40_000.0 - mib))
        for row in gauge(name, host, {"gpu": "0"}, value, value)
    ]
    row = values(run, scrapes)["device_memory_fraction"]
    assert (row["value"], row["n"]) == (pytest.approx(0.75), 2)


def test_memory_of_a_device_is_of_what_it_has(run: Any) -> None:
    """npu-exporter tells the whole, not what is free; a share that is stated counts as well."""
    scrapes = gauge("npu_chip_info_hbm_used_memory", "n", {"id": "0"}, 16_384.0)
    scrapes += gauge("npu_chip_info_hbm_total_memory", "n", {"id": "0"}, 65_536.0)
    assert values(run, scrapes)["device_memory_fraction"]["value"] == pytest.approx(0.25)
    scrapes += gauge("npu_chip_info_hbm_utilization", "n", {"id": "1"}, 60.0)
    assert values(run, scrapes)["device_memory_fraction"]["value"] == pytest.approx(0.6)


def test_energy_is_power_over_the_token_rate(run: Any) -> None:
    """Two devices of 100 W: their sum by the tokens per second."""
    scrapes = [
        row
        for device in "01"
        for row in gauge("DCGM_FI_DEV_POWER_USAGE", "d", {"gpu": device}, 100.0, 100.0)
    ]
    found = values(run, scrapes)
    assert found["power_w"]["value"] == pytest.approx(200.0)
    rate = found["output_tps"]["value"]
    assert found["energy_per_token_j"]["value"] == pytest.approx(200.0 / rate)


def test_energy_counters_are_preferred_to_readings_of_power(run: Any) -> None:
    """2,500 J in 10 s are 250 W, whatever a gauge read once a second saw of it."""
    scrapes = [
        *gauge("DCGM_FI_DEV_POWER_USAGE", "d", {"gpu": "0"}, 100.0, 100.0),
        *counter("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "d", {"gpu": "0"}, 2_500_000.0),
    ]
    found = values(run, scrapes)
    assert found["power_w"]["value"] == pytest.approx(100.0)
    rate = found["output_tps"]["value"]
    assert found["energy_per_token_j"]["value"] == pytest.approx(250.0 / rate)


def test_an_energy_counter_of_some_devices_is_not_taken_for_all(run: Any) -> None:
    """One of two devices counts energy: the mean power of both is used."""
    scrapes = [
        row
        for device in "01"
        for row in gauge("DCGM_FI_DEV_POWER_USAGE", "d", {"gpu": device}, 100.0, 100.0)
    ]
    scrapes += counter("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "d", {"gpu": "0"}, 900_000.0)
    found = values(run, scrapes)
    rate = found["output_tps"]["value"]
    assert found["energy_per_token_j"]["value"] == pytest.approx(200.0 / rate)


def test_what_was_not_scraped_is_absent_with_the_reason(run: Any) -> None:
    """No exporter: no value and why, for every resource; never 0."""
    found = values(run, [])
    for name in (
        "host_cpu_fraction", "host_memory_fraction", "network_fraction", "network_bytes_per_s",
        "device_temperature_c", "device_utilization_fraction", "power_w", "energy_per_token_j",
    ):  # fmt: skip
        assert found[name]["value"] is None
        assert "not scraped" in found[name]["absent"]["en"]


def test_the_ideal_ranges_are_those_of_the_documents() -> None:
    """§5.3.3: SM 80–95 %, GPU memory 70–90 %, CPU 60–80 %, memory 70–85 %, network 60–80 %."""
    assert {name: metric.ideal for name, metric in METRICS.items() if metric.ideal} == {
        "device_utilization_fraction": (0.8, 0.95),
        "device_memory_fraction": (0.7, 0.9),
        "host_cpu_fraction": (0.6, 0.8),
        "host_memory_fraction": (0.7, 0.85),
        "network_fraction": (0.6, 0.8),
    }


def test_the_batch_rate_is_steps_by_the_time_between_scrapes(run: Any) -> None:
    """Two engines of 200 and 100 steps in 10 s make 30 a second; each counts each step once."""
    name, last = "vllm:iteration_tokens_total_bucket", {"le": "+Inf"}
    scrapes = counter(name, "s", {"engine": "0", **last}, 200.0)
    scrapes += counter(name, "s", {"engine": "0", "le": "64"}, 150.0)
    scrapes += counter(name, "s", {"engine": "1", **last}, 100.0)
    row = values(run, scrapes)["batch_rate"]
    assert (row["value"], row["n"]) == (pytest.approx(30.0), 300)
    assert values(run, [])["batch_rate"]["value"] is None
