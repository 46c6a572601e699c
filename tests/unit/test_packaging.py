"""What stands beside the code for containers, clusters and pipelines agrees with the code."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from bench.cli.main import cli

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docs" / "compose"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CI_YAML = re.findall(
    r"^```yaml\n(.*?)^```",
    (ROOT / "docs" / "ci.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)


def parse(words: list[str]) -> None:
    """Finds the command and parses its options; raises where one is unknown."""
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        inner = command.get_command(context, words[0])
        assert inner is not None, words
        command, words = inner, words[1:]
    command.make_parser(context).parse_args(list(words))


def scripts(node: Any) -> list[str]:
    """Every text in a YAML document that calls bench."""
    if isinstance(node, str):
        return [line for line in node.splitlines() if line.startswith(".venv/bin/bench ")]
    nested = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [line for each in nested for line in scripts(each)]


@pytest.mark.parametrize("text", CI_YAML, ids=["github", "gitlab"])
def test_pipelines_call_commands_that_exist(text: str) -> None:
    """Each example is YAML, and its gate and its night parse as commands."""
    found = [shlex.split(line) for line in scripts(yaml.safe_load(text))]
    assert {words[1] for words in found} == {"run", "nightly"}
    for words in found:
        parse(words[1:])


def test_the_job_runs_a_command_that_exists() -> None:
    """The Job's arguments parse; it is not root, is not repeated, and has whole cores."""
    documents = list(yaml.safe_load_all((ROOT / "docs" / "k8s" / "job.yaml").read_text()))
    (job,) = (each for each in documents if each["kind"] == "Job")
    assert job["spec"]["backoffLimit"] == 0
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    parse(container["args"])
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert container["resources"]["limits"]["cpu"].isdecimal()
    claims = {each["metadata"]["name"] for each in documents if each["kind"] != "Job"}
    sources = [volume.get("persistentVolumeClaim", {}) for volume in pod["volumes"]]
    assert {source["claimName"] for source in sources if source} == claims
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_the_image_is_made_of_files_that_are_there() -> None:
    """What the Dockerfile copies is there, and in the build's context; it ends unprivileged."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    let_through = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert sorted(copied) == sorted(let_through)
    assert all((ROOT / source).exists() for source in copied)
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE) == ["10001:10001"]
    python = re.findall(r"^FROM python:(\d+\.\d+)", text, re.MULTILINE)
    assert len(set(python)) == 1
    assert PROJECT["project"]["requires-python"] == f">={python[0]}"


def test_compose_mounts_files_that_are_there() -> None:
    """Every bind mount of docs/compose/compose.yaml is a file or folder of the checkout."""
    services = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    mounts = [m.split(":")[0] for each in services.values() for m in each.get("volumes", ())]
    assert mounts
    assert [mount for mount in mounts if not (COMPOSE / mount).exists()] == []
    (scrape, gateway) = yaml.safe_load((COMPOSE / "prometheus.yml").read_text())["scrape_configs"]
    assert scrape["static_configs"][0]["targets"] == ["host.docker.internal:9464"]
    assert gateway["honor_labels"] is True


def test_every_dependency_is_bounded() -> None:
    """Each has a lower and an upper bound, in extras and groups too."""
    groups = (
        PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"].values(),
        *PROJECT["dependency-groups"].values(),
    )
    free = [each for group in groups for each in group if not re.search(r">=[\d.]+,<\d", each)]
    assert free == []
