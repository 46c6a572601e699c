"""The families the simulator can be."""

from __future__ import annotations

from collections.abc import Mapping

from bench.sim.api import Family
from bench.sim.dialect_llamacpp import LLAMACPP
from bench.sim.dialect_mindie import MINDIE
from bench.sim.dialect_sglang import SGLANG
from bench.sim.dialect_tgi import TGI
from bench.sim.dialect_vllm import VLLM

FAMILIES: Mapping[str, Family] = {
    family.name: family for family in (VLLM, MINDIE, SGLANG, LLAMACPP, TGI)
}
