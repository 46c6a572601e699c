"""A whole run against the simulated MindIE: its counts, its first token, its cache, mutual TLS."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bench.record.frame import open_run
from bench.sim.config import Certificates, SimConfig
from bench.sim.process import SimProcess, running_sim
from bench.sim.truth import TruthRow, read_truth

PREFIX_TOKENS = 400
INTERFACES = {
    "tgi": "token_ids",
    "infer": "token_ids",
    "triton": "continuous_usage",
    "generate": "events",
}
"""Beside chat, and how the tokens of each are counted."""


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, and certificates of it for the server and for the client."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    folder = tmp_path_factory.mktemp("certificates")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(
        folder, "req", "-x509", *key, "-days", "2", "-keyout", "ca.key", "-out", "ca.pem",
        "-subj", "/CN=test CA", "-addext", "keyUsage=critical,keyCertSign",
    )  # fmt: skip
    (folder / "address").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("server", "client"):
        request = (*key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(folder, "req", *request)
        openssl(
            folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile", "address",
        )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def mindie(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimProcess]:
    """A MindIE that asks for a client certificate on all three ports."""
    truth = tmp_path_factory.mktemp("truth") / "truth.jsonl"
    tls = Certificates(
        cert=certificates / "server.pem",
        key=certificates / "server.key",
        client_ca=certificates / "ca.pem",
    )
    config = SimConfig(port=0, family="mindie", tls=tls, benchmark=True, truth=truth)
    with running_sim(config) as sim:
        yield sim


@pytest.fixture(scope="module")
def trusted(certificates: Path, mindie: SimProcess) -> list[str]:
    """The options that make the harness and the server trust each other."""
    files = (("--ca", "ca.pem"), ("--cert", "client.pem"), ("--key", "client.key"))
    tls = [part for option, name in files for part in (option, str(certificates / name))]
    return [*tls, "--metrics-url", f"{mindie.urls['metrics']}/metrics"]


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Conversations that share a beginning, so that there is something to hit."""
    path = tmp_path_factory.mktemp("workload") / "shared.jsonl"
    shared = " ".join(f"word{number}" for number in range(PREFIX_TOKENS))
    rows = [
        {"messages": [{"role": "user", "content": f"{shared} question {number}"}]}
        for number in range(24)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def run_folder(checkout_bench: Any, mindie: SimProcess, trusted: list[str], workload: Path) -> Path:
    """One run of 24 conversations."""
    done = checkout_bench(
        "run", "-t", mindie.url, *trusted, "-w", str(workload), "--format", "openai_messages",
        "--rate", "20", "--arrivals", "constant", "--max-output", "12", "--json",
    )  # fmt: skip
    assert done.code in (0, 4), f"{done.out}\n{done.err}"
    folder = Path(json.loads(done.out)["run"])
    return folder if folder.is_absolute() else Path(checkout_bench.folder) / folder


@pytest.fixture(scope="module")
def truth(mindie: SimProcess, run_folder: Path) -> dict[str, TruthRow]:
    """What the server did, by request id."""
    assert mindie.config.truth is not None
    return {row.id: row for row in read_truth(mindie.config.truth)}


def test_probe_knows_mindie(checkout_bench: Any, mindie: SimProcess, trusted: list[str]) -> None:
    """Family, version, the role in each chunk, usage in the finish chunk, metrics on their port."""
    done = checkout_bench("probe", mindie.url, *trusted, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["server"]["family"] == "mindie"
    assert found["server"]["version"] == "3.0.0+bench.sim"
    assert found["stream"]["role_frame"] == "every"
    assert found["stream"]["usage_place"] == "finish_event"
    assert found["style"]["max_tokens_field"] == "max_tokens"
    assert found["metrics"]["series"]["cache_hit_tokens"]["name"] == "npu_radix_match_hit_num"
    assert found["metrics"]["series"]["cache_queried_tokens"]["name"] == "all_radix_match_num"


def test_probe_without_a_certificate_is_told_what_is_missing(
    checkout_bench: Any, mindie: SimProcess, certificates: Path
) -> None:
    """A server that asks for a client certificate is named as such, with the options."""
    done = checkout_bench("probe", mindie.url, "--ca", str(certificates / "ca.pem"))
    assert done.code == 5
    assert "--cert FILE --key FILE" in done.err


def test_token_counts_are_those_of_the_finish_chunk(
    run_folder: Path, truth: dict[str, TruthRow]
) -> None:
    """Prompt, output and cached tokens of every request are what the server counted."""
    requests = open_run(run_folder).requests
    assert (requests["outcome"] == "ok").all()
    rows = [truth[f"{tag}-{index}"] for tag, index in ids_of(run_folder, requests["index"])]
    assert requests["output_tokens"].tolist() == [row.output_tokens for row in rows]
    assert requests["prompt_tokens"].tolist() == [row.prompt_tokens for row in rows]
    assert requests["cached_tokens"].tolist() == [row.cached_tokens for row in rows]
    assert set(requests["token_method"]) == {"usage_spread"}


def test_ttft_ends_at_the_first_content(run_folder: Path, truth: dict[str, TruthRow]) -> None:
    """The role frame is kept apart; the first token is not before the server sent one."""
    run = open_run(run_folder)
    requests = run.requests
    assert (requests["role_s"] <= requests["first_s"]).all()
    rows = [truth[f"{tag}-{index}"] for tag, index in ids_of(run_folder, requests["index"])]
    sent_s = [(row.first_ns - run.start_ns) / 1e9 for row in rows if row.first_ns is not None]
    assert len(sent_s) == len(requests)
    assert (requests["first_s"].to_numpy() >= sent_s).all()


def test_hit_rate_is_that_of_the_radix_counters(run_folder: Path) -> None:
    """The server's view is Δ hits / Δ looked up, and agrees with the client's view."""
    cache = json.loads((run_folder / "summary.json").read_text())["cache"]
    assert cache["server"] > 0.5
    assert cache["server"] == pytest.approx(cache["client"], abs=0.01)
    requests = open_run(run_folder).requests
    assert set(requests["cached_tokens"] % 128) == {0.0}


def test_lookups_are_those_of_the_run_alone(run_folder: Path) -> None:
    """Gathered once a second, neither the probe is in them nor do the last ones lack."""
    run = open_run(run_folder)
    looked_up = run.server["value"][(run.server["name"] == "all_radix_match_num").to_numpy()]
    assert looked_up.iloc[-1] - looked_up.iloc[0] == run.requests["prompt_tokens"].sum()


def test_benchmark_fields_are_kept(run_folder: Path) -> None:
    """With MINDIE_LLM_BENCHMARK_ENABLE the wait before the first step and the batch are columns."""
    requests = open_run(run_folder).requests
    assert (requests["server_queue_s"] >= 0).all()
    assert (requests["server_batch_mean"] >= 1).all()
    assert requests["server_prefill_s"].isna().all()  # only in answers that are not streamed


def test_without_monitoring_the_metrics_are_absent(checkout_bench: Any) -> None:
    """A MindIE without MIES_SERVICE_MONITOR_MODE is measured, and what it hides is named."""
    config = SimConfig(port=0, family="mindie", monitoring=False)
    with running_sim(config) as sim:
        done = checkout_bench(
            "probe", sim.url, "--metrics-url", f"{sim.urls['metrics']}/metrics", "--json"
        )
    assert done.code == 0, done.err
    (gap,) = [gap for gap in json.loads(done.out)["gaps"] if gap["missing"] == "metrics"]
    assert "MIES_SERVICE_MONITOR_MODE" in gap["effect"]
    assert "MIES_SERVICE_MONITOR_MODE=1" in gap["remedy"]


@pytest.fixture(scope="module")
def other_runs(checkout_bench: Any) -> Iterator[dict[str, Any]]:
    """How a run of each other interface ended; beside each other, for they mostly wait."""
    with running_sim(SimConfig(port=0, family="mindie")) as sim, ThreadPoolExecutor() as pool:

        def run(endpoint: str) -> Any:
            return checkout_bench(
                "run", "-t", sim.url, "--metrics-url", f"{sim.urls['metrics']}/metrics",
                "--endpoint", endpoint, "--input-tokens", "200", "--output-tokens", "8",
                "--rate", "20", "--requests", "8", "--json", "--no-report",
            )  # fmt: skip

        yield dict(zip(INTERFACES, pool.map(run, INTERFACES), strict=True))


@pytest.mark.parametrize("endpoint", INTERFACES)
def test_its_other_interfaces(
    endpoint: str, other_runs: dict[str, Any], checkout_bench: Any
) -> None:
    """Each is measured by its own stream: every answer whole, every token with a time."""
    done = other_runs[endpoint]
    assert done.code in (0, 4), done.err
    folder = Path(json.loads(done.out)["run"])
    run = open_run(folder if folder.is_absolute() else Path(checkout_bench.folder) / folder)
    assert (run.requests["outcome"] == "ok").all(), run.requests["error_text"].tolist()
    assert (run.requests["output_tokens"] <= 8).all()
    events = list(run.token_events())
    assert sum(len(part.tokens) for part in events) == run.requests["output_tokens"].sum()
    assert set(run.requests["token_method"]) == {INTERFACES[endpoint]}


def ids_of(run_folder: Path, indices: Any) -> list[tuple[str, int]]:
    """Tag and index of each request: what its X-Request-Id was made of."""
    tag = json.loads((run_folder / "manifest.json").read_text())["load"]["run_tag"]
    return [(tag, index) for index in indices]
