"""Checks on other tools' result files, given as evidence for an item's part."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from bench.accept.checks.attested import lacking
from bench.accept.checks.check import Asked, Check, Parameters
from bench.accept.evidence import Imported
from bench.accept.importers import kubectl
from bench.accept.importers.fio import read_throughput
from bench.accept.importers.iperf3 import read_bits_per_s
from bench.accept.importers.junit import read_cases
from bench.accept.importers.lm_eval import read_accuracy
from bench.accept.importers.perftest import read_rdma
from bench.accept.importers.trivy import read_severities
from bench.accept.missing import missing
from bench.judge.checklist import Basis
from bench.judge.checklist_result import Finding
from bench.judge.metric import Text
from bench.judge.verdict import Result


def _files(asked: Asked, tool: str) -> list[Imported]:
    entries = asked.facts.evidence.files(asked.item, asked.part)
    if not entries:
        raise lacking(asked, missing("imported", name=tool))
    return entries


def _paths(asked: Asked, tool: str) -> list[Path]:
    return [asked.facts.evidence.folder / entry.file for entry in _files(asked, tool)]


def _links(asked: Asked) -> tuple[str, ...]:
    folder = asked.facts.evidence.folder
    entries = asked.facts.evidence.files(asked.item, asked.part)
    return tuple(str(folder / entry.file) for entry in entries)


class LossParameters(Parameters):
    """The most accuracy a task may lose, in absolute fraction (1 % is 0.01)."""

    at_most: float = Field(gt=0, lt=1)


def accuracy_kept(asked: Asked, wanted: LossParameters) -> Finding:
    """The worst task of lm-evaluation-harness results, against `before` of the evidence entry."""
    folder = asked.facts.evidence.folder
    losses: dict[str, float] = {}
    for entry in _files(asked, "lm-evaluation-harness"):
        if entry.before is None:
            raise missing("before", name="lm-evaluation-harness")
        before, after = read_accuracy(folder / entry.before), read_accuracy(folder / entry.file)
        losses |= {task: before[task] - after[task] for task in before.keys() & after.keys()}
    if not losses:
        raise missing(
            "no_value", why=Text("两份结果没有共同的任务", "the two results have no task in common")
        )
    worst = max(losses, key=lambda task: losses[task])
    text = Text(f"{len(losses)} 个任务中最差：{worst}。", f"Worst of {len(losses)} tasks: {worst}.")
    return asked.held(losses[worst], wanted.at_most, "lower", "fraction", text,
                      n=len(losses), links=_links(asked))  # fmt: skip


class StorageParameters(Parameters):
    """Least read throughput; `readers`: by at least so many jobs at once."""

    bytes_per_s: float = Field(gt=0)
    readers: int = Field(default=1, ge=1)


def storage(asked: Asked, wanted: StorageParameters) -> Finding:
    """The lowest of the fio results given."""
    found = min(
        (read_throughput(path) for path in _paths(asked, "fio")),
        key=lambda result: result.read_bytes_per_s,
    )
    text = Text(f"{found.readers} 个并发读。", f"{found.readers} readers at once.")
    if found.readers < wanted.readers:
        raise missing(
            "too_short",
            why=Text(
                f"{found.readers} 个并发读，需要 {wanted.readers} 个",
                f"{found.readers} of {wanted.readers} concurrent readers",
            ),
        )
    return asked.held(found.read_bytes_per_s, wanted.bytes_per_s, "higher", "B/s", text,
                      n=found.readers, links=_links(asked))  # fmt: skip


class BandwidthParameters(Parameters):
    bits_per_s: float = Field(gt=0)


def bandwidth(asked: Asked, wanted: BandwidthParameters) -> Finding:
    """The lowest of the iperf3 (JSON) or perftest (text) results given."""
    values = [
        read_bits_per_s(path) if path.suffix == ".json" else read_rdma(path).bits_per_s
        for path in _paths(asked, "iperf3, perftest")
    ]
    known = [value for value in values if value is not None]
    if not known:
        raise missing("no_value", why=Text("结果未写明带宽", "the results state no bandwidth"))
    text = Text(f"{len(known)} 份结果中最低。", f"Lowest of {len(known)} results.")
    return asked.held(min(known), wanted.bits_per_s, "higher", "bit/s", text,
                      n=len(known), links=_links(asked))  # fmt: skip


class SeverityParameters(Parameters):
    severities: tuple[str, ...] = ("CRITICAL", "HIGH")


def no_vulnerabilities(asked: Asked, wanted: SeverityParameters) -> Finding:
    counts = [read_severities(path) for path in _paths(asked, "trivy")]
    bad = sum(count[severity] for count in counts for severity in wanted.severities)
    total = sum(sum(count.values()) for count in counts)
    names = "/".join(wanted.severities)
    text = Text(
        f"{total} 个漏洞中 {bad} 个 {names}。", f"{bad} {names} of {total} vulnerabilities."
    )
    return asked.held(bad, 0, "lower", "1", text, n=total, links=_links(asked))


def _objects(asked: Asked, kind: str) -> kubectl.Objects:
    paths = _paths(asked, "kubectl get -o json")
    return [found for path in paths for found in kubectl.read_objects(path, kind)]


def nodes_ready(asked: Asked, _: Parameters) -> Finding:
    nodes = _objects(asked, "Node")
    bad = kubectl.not_ready(nodes)
    text = Text(f"{len(nodes)} 个节点，未就绪：{', '.join(bad) or '无'}。",
                f"{len(nodes)} nodes; not ready: {', '.join(bad) or 'none'}.")  # fmt: skip
    return asked.held(len(bad), 0, "lower", "nodes", text, n=len(nodes), links=_links(asked))


class ResourceParameters(Parameters):
    """A resource such as nvidia.com/gpu; names that begin with it count (MIG profiles)."""

    resource: str
    at_least: int = Field(default=1, ge=1)


def resource_listed(asked: Asked, wanted: ResourceParameters) -> Finding:
    nodes = _objects(asked, "Node")
    count = kubectl.allocatable(nodes, wanted.resource)
    should = max(wanted.at_least, asked.facts.settings.accelerators or 0)
    text = Text(f"{wanted.resource}：{count}。", f"{wanted.resource}: {count}.")
    return asked.held(count, should, "higher", "devices", text, n=len(nodes), links=_links(asked))


class ImageParameters(Parameters):
    bytes_at_most: float = Field(gt=0)


def image_small(asked: Asked, wanted: ImageParameters) -> Finding:
    """The largest image that the settings' `image` names, as the nodes of the cluster state it."""
    image = asked.facts.settings.image
    if image is None:
        raise missing("image")
    nodes = _objects(asked, "Node")
    sizes = kubectl.image_bytes(nodes, image)
    if not sizes:
        raise missing(
            "no_value",
            why=Text(f"没有节点含名为 {image} 的镜像", f"no node has an image named {image}"),
        )
    text = Text(f"{len(sizes)} 个镜像中最大。", f"Largest of {len(sizes)} images.")
    return asked.held(max(sizes), wanted.bytes_at_most, "lower", "bytes", text,
                      n=len(sizes), links=_links(asked))  # fmt: skip


def no_root(asked: Asked, _: Parameters) -> Finding:
    pods = _objects(asked, "Pod")
    bad = kubectl.may_be_root(pods)
    text = Text(f"可能以 root 运行：{', '.join(bad[:5]) or '无'}。",
                f"May run as root: {', '.join(bad[:5]) or 'none'}.")  # fmt: skip
    return asked.held(len(bad), 0, "lower", "1", text, n=len(pods), links=_links(asked))


class CaseParameters(Parameters):
    """Test cases whose `classname.name` matches."""

    matching: str = ""


def tests_pass(asked: Asked, wanted: CaseParameters) -> Finding:
    """No case failed, and at least one was run."""
    found = [read_cases(path, wanted.matching) for path in _paths(asked, "JUnit XML")]
    failed = [name for cases in found for name in cases.failed]
    ran = sum(cases.total - cases.skipped for cases in found)
    if not ran:
        raise missing("no_value", why=Text("没有执行任何测试用例", "no test case was run"))
    text = Text(f"执行 {ran} 例，失败：{', '.join(failed[:5]) or '无'}。",
                f"{ran} cases run; failed: {', '.join(failed[:5]) or 'none'}.")  # fmt: skip
    result = Result.FAIL if failed else Result.PASS
    return asked.finding(result, text, value=len(failed), bound=0, direction="lower", unit="1",
                         n=ran, links=_links(asked))  # fmt: skip


_ONLY = frozenset({Basis.IMPORTED})

IMPORTED = (
    Check("accuracy_kept", _ONLY, accuracy_kept, LossParameters),
    Check("storage", _ONLY, storage, StorageParameters),
    Check("bandwidth", _ONLY, bandwidth, BandwidthParameters),
    Check("no_vulnerabilities", _ONLY, no_vulnerabilities, SeverityParameters),
    Check("nodes_ready", _ONLY, nodes_ready),
    Check("resource_listed", _ONLY, resource_listed, ResourceParameters),
    Check("image_small", _ONLY, image_small, ImageParameters),
    Check("no_root", _ONLY, no_root),
    Check("tests_pass", _ONLY, tests_pass, CaseParameters),
)
