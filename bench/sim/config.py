"""What a simulated engine and server are made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

DEFAULT_MODEL_LEN = 131_072
DEFAULT_BLOCK_TOKENS = 16

Positive = Annotated[int, Field(gt=0)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class EngineConfig(BaseModel):
    """One engine: its limits as vLLM names them, and the linear cost of one step.

    A step takes `step_s` + `prefill_token_s` × prefill tokens + `decode_seq_s` × decoding requests
    seconds, times 1 + a normal deviate × `noise_fraction` (never under a tenth).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    step_s: Seconds = 0.005
    prefill_token_s: Seconds = 20e-6
    decode_seq_s: Seconds = 20e-6
    noise_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    max_num_seqs: Positive = 256
    max_num_batched_tokens: Positive = 8192
    kv_blocks: Positive = 32_768
    block_tokens: Positive = DEFAULT_BLOCK_TOKENS
    max_model_len: Positive | None = None
    prefix_caching: bool = True
    seed: int = 0

    @property
    def kv_tokens(self) -> int:
        return self.kv_blocks * self.block_tokens

    @property
    def context_tokens(self) -> int:
        """Longest prompt and reply together; as long as the cache allows unless it was given."""
        return self.max_model_len or min(DEFAULT_MODEL_LEN, self.kv_tokens)

    @model_validator(mode="after")
    def _one_request_fits(self) -> EngineConfig:
        if self.context_tokens > self.kv_tokens:
            raise ValueError(
                f"max_model_len {self.context_tokens} needs more than the {self.kv_blocks} KV "
                f"blocks × {self.block_tokens} tokens = {self.kv_tokens} tokens there are; "
                "raise kv_blocks or lower max_model_len"
            )
        return self


FamilyName = Literal["vllm", "mindie", "sglang", "llamacpp", "tgi"]

BLOCK_TOKENS: Mapping[str, int] = {"mindie": 128, "sglang": 1, "llamacpp": 1}
"""Tokens of a KV block where a family's own default is not vLLM's 16."""


class Certificates(BaseModel):
    """PEM files of a server that speaks TLS; with `client_ca` it asks clients for theirs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cert: Path
    key: Path
    client_ca: Path | None = None


class SimConfig(EngineConfig):
    """A server: engines behind the ports of its family.

    `management_port` and `metrics_port` are MindIE's; the others have one port.  `tls` holds for
    every port.  `monitoring` off: MindIE's metrics answer 500, as without MIES_SERVICE_MONITOR_MODE
    in its environment.  `benchmark`: MindIE's usage tells batch sizes and times of each step, as
    with MINDIE_LLM_BENCHMARK_ENABLE.

    `faults` are texts as `bench.sim.faults` reads them.  `truth` is a file of JSON lines, one for
    each request as it ended; with `truth_tokens` its rows hold the instant of every token.
    `api_key_env` names the environment variable that holds the key.
    """

    host: str = "127.0.0.1"
    port: Port = 8000
    management_port: Port = 0
    metrics_port: Port = 0
    family: FamilyName = "vllm"
    tls: Certificates | None = None
    monitoring: bool = True
    benchmark: bool = False
    model: Annotated[str, Field(min_length=1)] = "sim"
    replicas: Positive = 1
    faults: tuple[str, ...] = ()
    truth: Path | None = None
    truth_tokens: bool = False
    api_key_env: str | None = None
    natural_output_tokens: Positive = 256
    keepalive_s: Seconds = 5.0

    @model_validator(mode="before")
    @classmethod
    def _block_of_the_family(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and fields.get("block_tokens") is None:
            family = fields.get("family", "vllm")
            return {**fields, "block_tokens": BLOCK_TOKENS.get(family, DEFAULT_BLOCK_TOKENS)}
        return fields
