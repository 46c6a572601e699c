"""`bench selftest`: options and what a terminal shows."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from bench.cli.selftest import command, lines

SPREAD = {"n": 1200, "p50": 0.000004, "p99": 0.0005, "max": 0.002, "bias": -0.000001}
UNKNOWN = {"n": 0, "p50": None, "p99": None, "max": None, "bias": None}


def found(**fields: Any) -> dict[str, Any]:
    plain = {
        "load": {"streams": 200},
        "requests": 1199,
        "lost": 1,
        "ttft_s": SPREAD,
        "itl_s": UNKNOWN,
        "lag_s": SPREAD,
        "uncertain_first_fraction": 0.025,
        "tokens_per_s": 9876.5,
        "cpu_us_per_token": 21.25,
        "cpu_fraction": None,
        "ramp": None,
    }
    return plain | fields


def test_streams_and_rate_exclude_each_other() -> None:
    """A load is a closed loop or an open one."""
    result = CliRunner().invoke(command, ["--streams", "5", "--rate", "3"])
    assert result.exit_code == 2
    assert "--streams is a closed loop, --rate an open one" in result.output


def test_errors_are_shown_in_milliseconds() -> None:
    """Seconds are shown as ms with three digits, the unknown as a dash."""
    shown = lines(found())
    assert shown[1].split()[-5:] == ["1,200", "0.004", "0.5", "2", "-0.001"]
    assert shown[2].split()[-5:] == ["0", "—", "—", "—", "—"]
    assert "9,876 tokens/s, CPU 21.2 µs/token (— of a core" in shown[4]
    assert "uncertain first tokens 2.5 %, lost 1 of 1200" in shown[4]


def test_says_that_the_simulator_shares_the_machine() -> None:
    """The last line says that the figures are those of a shared machine."""
    assert lines(found())[-1] == "The simulator ran on this machine too and took its share of it."


@pytest.mark.parametrize(
    ("stopped", "uncertain", "says"),
    [
        ("uncertain", 20_000.0, "first tokens are uncertain from 20,000 tokens/s on"),
        ("late", None, "the machine is full at 15,000 tokens/s, simulator included"),
        ("most_streams", None, "no limit found up to the most streams tried"),
    ],
)
def test_ramp_says_why_it_ended(stopped: str, uncertain: float | None, says: str) -> None:
    """The ramp is a row for each step and the reason for its end."""
    ramp = {
        "steps": [found(load={"streams": 400}), found(load={"streams": 800})],
        "stopped": stopped,
        "certain_tokens_per_s": 15_000.0,
        "uncertain_tokens_per_s": uncertain,
    }
    shown = lines(found(ramp=ramp))
    assert shown[-2] == says
    assert [line.split()[0] for line in shown[-4:-2]] == ["400", "800"]
    assert "0.5 ms" in shown[-3]
