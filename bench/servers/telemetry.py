"""Exporters of devices and hosts, one row each; scaled to base units.

Sources: dcgm-exporter `etc/default-counters.csv`; Ascend mind-cluster `npu-exporter` (samples carry
their own millisecond time and are cached for 5 s); node_exporter (general knowledge, not re-read).
npu-exporter's "MB" are 2^20 bytes: a device of 64 GiB reads 65536.
dcgm-exporter collects every 30 s by default: too coarse for a short run, set it to 1 s.
"""

from __future__ import annotations

from collections.abc import Collection

from bench.servers.family import Exposed, Family, Role

_MIB = float(2**20)
_PERCENT = 0.01
_MHZ = 1e6

DCGM = Family(
    name="dcgm",
    title="dcgm-exporter",
    role=Role.EXPORTER,
    metric_marks=("DCGM_FI_",),
    ports={"metrics": 9400},
    series={
        "device_utilization_fraction": (
            Exposed("DCGM_FI_PROF_GR_ENGINE_ACTIVE"),
            Exposed("DCGM_FI_DEV_GPU_UTIL", scale=_PERCENT, note="share of time with any kernel"),
        ),
        "device_memory_used_bytes": (Exposed("DCGM_FI_DEV_FB_USED", scale=_MIB),),
        "device_memory_free_bytes": (Exposed("DCGM_FI_DEV_FB_FREE", scale=_MIB),),
        "device_memory_bandwidth_fraction": (
            Exposed("DCGM_FI_PROF_DRAM_ACTIVE"),
            Exposed("DCGM_FI_DEV_MEM_COPY_UTIL", scale=_PERCENT),
        ),
        "device_tensor_fraction": (Exposed("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE"),),
        "device_power_w": (Exposed("DCGM_FI_DEV_POWER_USAGE"),),
        "device_energy_j": (Exposed("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", scale=1e-3),),
        "device_temperature_c": (Exposed("DCGM_FI_DEV_GPU_TEMP"),),
        "device_clock_hz": (Exposed("DCGM_FI_DEV_SM_CLOCK", scale=_MHZ),),
        "device_errors": (Exposed("DCGM_FI_DEV_XID_ERRORS"),),
    },
)

NPU_EXPORTER = Family(
    name="npu-exporter",
    title="Ascend npu-exporter",
    role=Role.EXPORTER,
    metric_marks=("npu_chip_info_", "machine_npu_nums"),
    ports={"metrics": 8082},
    series={
        "device_utilization_fraction": (
            Exposed("npu_chip_info_utilization", scale=_PERCENT, note="AI cores"),
        ),
        "device_memory_used_bytes": (
            Exposed("npu_chip_info_hbm_used_memory", scale=_MIB),
            Exposed("npu_chip_info_used_memory", scale=_MIB, note="DDR"),
        ),
        "device_memory_total_bytes": (
            Exposed("npu_chip_info_hbm_total_memory", scale=_MIB),
            Exposed("npu_chip_info_total_memory", scale=_MIB, note="DDR"),
        ),
        "device_memory_utilization_fraction": (
            Exposed("npu_chip_info_hbm_utilization", scale=_PERCENT),
        ),
        "device_memory_bandwidth_fraction": (
            Exposed("npu_chip_info_hbm_bandwidth_utilization", scale=_PERCENT),
        ),
        "device_tensor_fraction": (Exposed("npu_chip_info_cube_utilization", scale=_PERCENT),),
        "device_power_w": (Exposed("npu_chip_info_power"),),
        "device_temperature_c": (Exposed("npu_chip_info_temperature"),),
        "device_clock_hz": (Exposed("npu_chip_info_aicore_current_freq", scale=_MHZ),),
        "device_errors": (Exposed("npu_chip_info_error_code"),),
    },
)

NODE_EXPORTER = Family(
    name="node-exporter",
    title="node_exporter",
    role=Role.EXPORTER,
    metric_marks=("node_cpu_seconds_total", "node_load1", "node_memory_"),
    ports={"metrics": 9100},
    series={
        "host_cpu_s": (Exposed("node_cpu_seconds_total", note="busy is all but idle and iowait"),),
        "host_load": (Exposed("node_load1"),),
        "host_memory_available_bytes": (Exposed("node_memory_MemAvailable_bytes"),),
        "host_memory_total_bytes": (Exposed("node_memory_MemTotal_bytes"),),
        "host_receive_bytes": (Exposed("node_network_receive_bytes_total"),),
        "host_transmit_bytes": (Exposed("node_network_transmit_bytes_total"),),
        "host_link_bytes_per_s": (Exposed("node_network_speed_bytes"),),
        "host_tcp_retransmits": (Exposed("node_netstat_Tcp_RetransSegs"),),
    },
)

EXPORTERS: tuple[Family, ...] = (DCGM, NPU_EXPORTER, NODE_EXPORTER)


def exporters_by_metrics(exposed_names: Collection[str]) -> tuple[Family, ...]:
    """The exporters whose names stand among `exposed_names`; one text may hold several."""
    return tuple(
        exporter
        for exporter in EXPORTERS
        if any(name.startswith(exporter.metric_marks) for name in exposed_names)
    )
