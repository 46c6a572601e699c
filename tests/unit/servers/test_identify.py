"""What model lists and fingerprints tell."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from bench.errors import TargetError
from bench.servers.client import ControlClient, Reply
from bench.servers.identify import (
    ModelCard,
    choose_model,
    list_models,
    metrics_urls,
    read_fingerprint,
)
from bench.servers.rows.engines import TENSORRT_LLM
from bench.servers.rows.mindie import MINDIE
from bench.servers.rows.vllm import VLLM

LISTING = Reply("http://h/v1/models", 200, {}, b'{"data": []}')


def card(name: str, adapter_of: str | None = None) -> ModelCard:
    return ModelCard(name, "vllm", 8192, adapter_of)


def test_the_only_model_is_chosen() -> None:
    """Adapters of it don't make it a choice."""
    assert choose_model([card("qwen"), card("lora", adapter_of="qwen")], LISTING, "") == "qwen"


def test_the_model_asked_for_is_taken_even_unlisted() -> None:
    """transformers serve lists no model and serves one."""
    assert choose_model([], LISTING, "/models/tiny") == "/models/tiny"


def test_several_models_ask_for_a_choice() -> None:
    """The error names them."""
    with pytest.raises(TargetError, match="2 models: a, b"):
        choose_model([card("a"), card("b")], LISTING, "")


def test_no_list_of_models_is_told_with_its_status() -> None:
    """A wrong path in front of /v1 shows as a 404 of the list."""
    missing = Reply("http://h/x/v1/models", 404, {}, b'{"detail":"Not Found"}')
    with pytest.raises(TargetError, match=r"http://h/x/v1/models: status 404: Not Found") as caught:
        choose_model([], missing, "")
    assert "/v1" in caught.value.hint


def test_rows_that_name_no_model_are_left_out() -> None:
    """A proxy may list what it likes; what has no id is no model."""

    class Client:
        async def get(self, path_or_url: str) -> Reply:
            listed = b'{"data": [{"object": "model"}, "qwen", {"id": "qwen", "max_model_len": 9}]}'
            return Reply(path_or_url, 200, {}, listed)

    cards, _ = asyncio.run(list_models(cast(ControlClient, Client())))
    assert [(card.id, card.max_model_len) for card in cards] == [("qwen", 9)]


@pytest.mark.parametrize(
    ("fingerprint", "version", "parallel"),
    [
        ("vllm-0.32.0-8d0bebf7", "0.32.0", {}),
        ("vllm-0.32.0-tp8-pp2-8d0bebf7", "0.32.0", {"tp": 8, "pp": 2}),
        ("vllm-0.33.1.dev2-tp4-dp16-ep-8d0bebf7", "0.33.1.dev2", {"tp": 4, "dp": 16, "ep": 1}),
        ("fp_44709d6fcb", None, {}),
        ("", None, {}),
        (None, None, {}),
    ],
)
def test_vllms_fingerprint_tells_version_and_parallelism(
    fingerprint: str | None, version: str | None, parallel: dict[str, int]
) -> None:
    """Only a fingerprint of that form is read; any other tells nothing."""
    assert read_fingerprint(fingerprint) == (version, parallel)


def test_metrics_are_looked_for_on_the_familys_own_ports_first() -> None:
    """MindIE has a metrics and a management port; the others answer on the server's own."""
    assert metrics_urls("https://[::1]:1025", MINDIE) == [
        "https://[::1]:1027/metrics",
        "https://[::1]:1026/metrics",
        "https://[::1]:1025/metrics",
    ]
    assert metrics_urls("http://h:9000/team", VLLM) == ["http://h:9000/team/metrics"]


def test_a_path_that_is_drained_by_reading_is_not_read() -> None:
    """trtllm-serve's /metrics hands each iteration out once: it is somebody else's."""
    assert metrics_urls("http://h", TENSORRT_LLM) == ["http://h/prometheus/metrics"]
