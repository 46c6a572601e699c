"""Faults as data: their texts, and when they happen."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.sim.faults import KINDS, OF_THE_SERVER, FaultPlan, apply, parse_fault, parse_header
from bench.sim.shape import SOUND, StreamShape


def test_every_kind_is_documented() -> None:
    """`docs/sim.md` names each kind."""
    told = (Path(__file__).parents[3] / "docs" / "sim.md").read_text()
    assert [name for name in KINDS if f"`{name}`" not in told] == []


def shapes(text: str, count: int, seed: int = 0) -> list[StreamShape]:
    plan = FaultPlan([text], seed)
    return [plan.shape(elapsed_s=number / 10, header=None) for number in range(count)]


@pytest.mark.parametrize("name", [name for name in KINDS if name not in OF_THE_SERVER])
def test_every_kind_changes_the_shape(name: str) -> None:
    """Each kind makes a shape that is not the sound one, and is named in it."""
    shape = apply([parse_fault(name)])
    assert shape != StreamShape(fault=name)
    assert shape.fault == name


@pytest.mark.parametrize(
    "name",
    sorted({p for name, kind in KINDS.items() if name not in OF_THE_SERVER for p in kind.params}),
)
def test_parameters_reach_the_shape(name: str) -> None:
    """A parameter sets the field that its kind names for it."""
    for kind, row in KINDS.items():
        if name in row.params and kind not in OF_THE_SERVER:
            shape = apply([parse_fault(f"{kind}:{name}=3")])
            assert getattr(shape, row.params[name]) == 3


@pytest.mark.parametrize(
    ("text", "status", "body", "retry_after_s"),
    [
        ("http_503", 503, "json", None),
        ("http_429_plain:retry_after=1.5", 429, "plain", 1.5),
        ("http_502_html:0.5", 502, "html", None),
    ],
)
def test_statuses(text: str, status: int, body: str, retry_after_s: float | None) -> None:
    """Any 4xx or 5xx can be answered, with a body of the form asked for."""
    shape = apply([parse_fault(text)])
    assert (shape.status, shape.body, shape.retry_after_s) == (status, body, retry_after_s)


def test_every_and_at() -> None:
    """`every=N` takes each Nth request, `at=` those named; the first request is 1."""
    assert [shape is not SOUND for shape in shapes("crlf:every=3", 7)] == [
        False, False, True, False, False, True, False,
    ]  # fmt: skip
    assert [shape is not SOUND for shape in shapes("crlf:at=1,4", 5)] == [
        True, False, False, True, False,
    ]  # fmt: skip


def test_window() -> None:
    """`at=Xs-Ys` takes the requests received from X up to, not including, Y."""
    hit = [number for number, shape in enumerate(shapes("crlf:at=0.2s-0.5s", 8)) if shape.fault]
    assert hit == [2, 3, 4]


def test_probability_is_seeded_and_kept() -> None:
    """A probability is drawn from the seed, and met within five standard deviations."""
    drawn = [shape.fault for shape in shapes("crlf:0.2", 10_000, seed=3)]
    assert drawn == [shape.fault for shape in shapes("crlf:0.2", 10_000, seed=3)]
    assert drawn != [shape.fault for shape in shapes("crlf:0.2", 10_000, seed=4)]
    assert abs(Counter(drawn)["crlf"] - 2000) < 5 * (10_000 * 0.2 * 0.8) ** 0.5


def test_header_adds_to_the_servers_faults() -> None:
    """A request's header is applied after the server's faults, in its own order."""
    plan = FaultPlan(["crlf"], 0)
    shape = plan.shape(0.0, "no_space, stall:after=5:seconds=0.1")
    assert shape.fault == "crlf+no_space+stall"
    assert (shape.line_end, shape.data_prefix) == (b"\r\n", b"data:")
    assert (shape.ending, shape.after, shape.stall_s) == ("stall", 5, 0.1)


def test_what_happens_to_the_server_is_kept_apart() -> None:
    """An outage, a restart and slow steps are windows of the whole server, not shapes."""
    plan = FaultPlan(["refuse:at=5s-7s", "restart:at=1s-2s", "slow_steps:at=3s-4s:factor=9"], 0)
    found = [(fault.kind, fault.window_s) for fault in plan.of_the_server]
    assert found == [("refuse", (5, 7)), ("restart", (1, 2)), ("slow_steps", (3, 4))]
    assert plan.of_the_server[2].shape == {"factor": 9}
    assert plan.shape(6.0, None) is SOUND


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("slow", "known kinds"),
        ("http_200", "known kinds"),
        ("crlf:2", "not a probability"),
        ("crlf:often", "not a number"),
        ("crlf:0.5:every=2", "second selector"),
        ("crlf:after=2", "neither a selector nor a parameter"),
        ("stall:every=0", "neither a selector nor a parameter"),
        ("crlf:at=3s-2s", "window is empty"),
        ("crlf:at=.s-2s", "not a number"),
        ("multi_token:tokens=0", "at least 1"),
        ("stall:seconds=-1", "not a number of 0 or more"),
        ("stall:seconds=nan", "not a number of 0 or more"),
        ("refuse", "needs a window"),
        ("refuse:0.5", "needs a window"),
        ("restart", "needs a window"),
        ("slow_steps:every=2", "needs a window"),
        ("slow_steps:at=1s-2s:factor=0", "at least 1"),
    ],
)
def test_wrong_texts(text: str, told: str) -> None:
    """A wrong fault is refused with what is wrong in it, and what would be right."""
    with pytest.raises(UsageError) as caught:
        parse_fault(text)
    assert told in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("text", ["crlf:every=2", "refuse:at=1s-2s", "crlf:0.5"])
def test_header_has_no_selectors(text: str) -> None:
    """A header already chooses its request."""
    with pytest.raises(UsageError, match="header"):
        parse_header(text)
