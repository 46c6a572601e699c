"""The table of checks: name → what it needs, its parameters, the function that evaluates it."""

from __future__ import annotations

from collections.abc import Mapping

from bench.accept.checks.attested import ATTESTED
from bench.accept.checks.check import Check
from bench.accept.checks.history import HISTORY
from bench.accept.checks.imported import IMPORTED
from bench.accept.checks.pairs import PAIRS
from bench.accept.checks.peak import PEAK
from bench.accept.checks.probed import PROBED
from bench.accept.checks.rules import RULES
from bench.accept.checks.runs import RUNS
from bench.accept.checks.scraped import SCRAPES
from bench.accept.checks.stability import STABILITY

CHECKS: Mapping[str, Check] = {
    check.name: check
    for table in (
        RUNS, RULES, STABILITY, PEAK, PAIRS, PROBED, SCRAPES, HISTORY, IMPORTED, ATTESTED,
    )
    for check in table
}  # fmt: skip
"""Every check by name."""
