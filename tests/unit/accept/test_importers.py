"""Each importer reads what its tool writes, and refuses what is something else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.accept.importers import kubectl
from bench.accept.importers.fio import Throughput, read_throughput
from bench.accept.importers.iperf3 import read_bits_per_s
from bench.accept.importers.junit import Cases, read_cases
from bench.accept.importers.lm_eval import read_accuracy
from bench.accept.importers.perftest import Rdma, read_rdma
from bench.accept.importers.trivy import read_severities
from bench.errors import ConfigError

Keep = Callable[[Any], Path]


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    """Writes text, or a value as JSON, and returns the file."""

    def write(content: Any) -> Path:
        path = tmp_path / "result"
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_lm_eval_prefers_the_normalised_accuracy(keep: Keep) -> None:
    """`acc_norm` before `acc` before `exact_match`; names with and without a filter."""
    found = read_accuracy(
        keep({
            "results": {
                "hellaswag": {"acc,none": 0.5, "acc_norm,none": 0.6, "acc_stderr,none": 0.01},
                "mmlu": {"acc": 0.7},
                "gsm8k": {"exact_match,strict-match": 0.4},
                "wikitext": {"word_perplexity,none": 9.1},
            }
        })
    )  # fmt: skip
    assert found == {"hellaswag": 0.6, "mmlu": 0.7, "gsm8k": 0.4}


def test_lm_eval_without_an_accuracy_is_refused(keep: Keep) -> None:
    """Perplexity alone is no accuracy."""
    with pytest.raises(ConfigError, match="no task has one of"):
        read_accuracy(keep({"results": {"wikitext": {"word_perplexity,none": 9.1}}}))


def test_fio_sums_jobs_and_counts_readers(keep: Keep) -> None:
    """Bytes per second add up; `numjobs` of a grouped job are readers, a writer is none."""
    found = read_throughput(
        keep({
            "jobs": [
                {"jobname": "r", "read": {"bw_bytes": 6e8}, "job options": {"numjobs": "4"}},
                {"jobname": "old", "read": {"bw": 1000}},
                {"jobname": "w", "write": {"bw_bytes": 2e8}, "read": {"bw_bytes": 0}},
            ]
        })
    )  # fmt: skip
    assert found == Throughput(6e8 + 1000 * 1024, 2e8, 5)


def test_fio_with_a_failed_job_is_refused(keep: Keep) -> None:
    """A job that ended with an error has no throughput to count."""
    with pytest.raises(ConfigError, match="error 5"):
        read_throughput(keep({"jobs": [{"jobname": "r", "error": 5, "read": {"bw_bytes": 1}}]}))


def test_iperf3_takes_what_was_received(keep: Keep) -> None:
    """TCP: the receiver's figure; UDP: the sum."""
    sent = {"bits_per_second": 2.0e10}
    tcp = {"end": {"sum_sent": sent, "sum_received": {"bits_per_second": 1.9e10}}}
    assert read_bits_per_s(keep(tcp)) == 1.9e10
    assert read_bits_per_s(keep({"end": {"sum": {"bits_per_second": 8e9}}})) == 8e9


def test_iperf3_that_failed_is_refused(keep: Keep) -> None:
    """The tool's own error is repeated."""
    with pytest.raises(ConfigError, match="unable to connect"):
        read_bits_per_s(keep({"error": "unable to connect to server"}))


BANDWIDTH = """
 Link type       : Ethernet
---------------------------------------------------------------------------------------
 #bytes     #iterations    BW peak[Gb/sec]    BW average[Gb/sec]   MsgRate[Mpps]
 65536      5000             196.21             195.90               0.373650
 131072     5000             197.00             196.50               0.187397
---------------------------------------------------------------------------------------
"""
LATENCY = """
 #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]    t_avg[usec]    t_stdev[usec]
 2       1000          1.80           9.99         1.92               1.95           0.10
"""


def test_perftest_reads_bandwidth_and_latency(keep: Keep) -> None:
    """The best average bandwidth in bits per second; the typical latency in seconds."""
    assert read_rdma(keep(BANDWIDTH)) == Rdma(196.5e9, None)
    found = read_rdma(keep(LATENCY))
    assert found.bits_per_s is None
    assert found.latency_s == pytest.approx(1.92e-6)


def test_perftest_in_mebibytes(keep: Keep) -> None:
    """Without --report_gbits the figure is in MiB/s."""
    text = "#bytes #iterations BW peak[MB/sec] BW average[MB/sec] MsgRate[Mpps]\n1 1 9 10 0.1\n"
    assert read_rdma(keep(text)).bits_per_s == 10 * 8 * 2**20


def test_perftest_of_something_else_is_refused(keep: Keep) -> None:
    """A text without the table's head is no perftest output."""
    with pytest.raises(ConfigError, match="#bytes"):
        read_rdma(keep("hello"))


def test_trivy_counts_by_severity(keep: Keep) -> None:
    """Over all results; a result without vulnerabilities counts nothing."""
    found = read_severities(
        keep({
            "SchemaVersion": 2,
            "Results": [
                {"Vulnerabilities": [{"Severity": "HIGH"}, {"Severity": "LOW"}]},
                {"Vulnerabilities": None},
                {"Vulnerabilities": [{"Severity": "HIGH"}]},
            ],
        })
    )  # fmt: skip
    assert dict(found) == {"HIGH": 2, "LOW": 1}


def test_trivy_needs_its_schema(keep: Keep) -> None:
    """An empty object is not a clean bill of health."""
    with pytest.raises(ConfigError, match="SchemaVersion"):
        read_severities(keep({}))


def node(name: str, ready: str, **allocatable: str) -> dict[str, Any]:
    return {
        "kind": "Node",
        "metadata": {"name": name},
        "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "allocatable": {k.replace("__", "/"): v for k, v in allocatable.items()},
            "images": [{"names": ["r/vllm:1", "r/vllm@sha256:0"], "sizeBytes": 9_000_000_000}],
        },
    }


def test_kubectl_nodes(keep: Keep) -> None:
    """Nodes that are not ready are named; resources add up; MIG profiles count by prefix."""
    path = keep({
        "kind": "List",
        "items": [
            node("a", "True", nvidia__gpu="8"),
            node("b", "Unknown", **{"nvidia__mig-1g.10gb": "7", "nvidia__mig-2g.20gb": "3"}),
        ],
    })  # fmt: skip
    nodes = kubectl.read_objects(path, "Node")
    assert kubectl.not_ready(nodes) == ["b"]
    assert kubectl.allocatable(nodes, "nvidia/gpu") == 8
    assert kubectl.allocatable(nodes, "nvidia/mig") == 10
    assert kubectl.image_bytes(nodes, "vllm") == [9_000_000_000] * 2


def test_kubectl_of_another_kind_is_refused(keep: Keep) -> None:
    """Nodes can't be found among pods."""
    with pytest.raises(ConfigError, match="no object of kind Node"):
        kubectl.read_objects(keep({"kind": "PodList", "items": [{"kind": "Pod"}]}), "Node")


def pod(whole: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    container = {"name": "c", "securityContext": own}
    return {
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"securityContext": whole, "containers": [container]},
    }


@pytest.mark.parametrize(
    ("whole", "own", "guilty"),
    [
        ({}, {}, True),
        ({"runAsNonRoot": True}, {}, False),
        ({"runAsNonRoot": True}, {"runAsNonRoot": False}, True),
        ({}, {"runAsUser": 1000}, False),
        ({"runAsUser": 1000}, {"runAsUser": 0}, True),
    ],
)
def test_kubectl_containers_that_may_be_root(
    whole: dict[str, Any], own: dict[str, Any], guilty: bool
) -> None:
    """A container's own security context goes over its pod's; user 0 is root."""
    assert kubectl.may_be_root([pod(whole, own)]) == (["p/c"] if guilty else [])


JUNIT = """<testsuites><testsuite>
<testcase classname="smoke" name="a"/>
<testcase classname="smoke" name="b"><failure message="x"/></testcase>
<testcase classname="backup" name="c"><error/></testcase>
<testcase classname="backup" name="d"><skipped/></testcase>
</testsuite></testsuites>"""


def test_junit_counts_cases(keep: Keep) -> None:
    """Failures and errors are failed; skipped cases are counted apart; a pattern selects."""
    path = keep(JUNIT)
    assert read_cases(path) == Cases(4, 1, ("smoke.b", "backup.c"))
    assert read_cases(path, "^backup") == Cases(2, 1, ("backup.c",))


@pytest.mark.parametrize(
    "text", ["<html/>", "not xml", '<!DOCTYPE x [<!ENTITY a "b">]><testsuite/>']
)
def test_junit_of_something_else_is_refused(keep: Keep, text: str) -> None:
    """Other XML, no XML, and XML with entities."""
    with pytest.raises(ConfigError):
        read_cases(keep(text))


@pytest.mark.parametrize("read", [read_accuracy, read_throughput, read_bits_per_s, read_severities])
def test_json_that_is_none(keep: Keep, read: Callable[[Path], object]) -> None:
    """A torn file and a JSON list are refused with the file's name."""
    for content in ("{", "[1]"):
        with pytest.raises(ConfigError, match="result"):
            read(keep(content))
