"""Which events of an answer carried tokens, and how many (metric system §1, `tokens[i]`)."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

from bench.model import TokenMethod


@dataclass(frozen=True, slots=True)
class TokenAccount:
    """When tokens arrived and how they were counted.

    `arrival_ns`, `tokens`: one element for each event that carried tokens.  `first_low_ns`: when
    the first was known not to have arrived yet.  `first_read_shared`: other token events were
    completed by the read that completed the first.
    """

    arrival_ns: array[int]
    tokens: array[int]
    output_tokens: int | None
    method: TokenMethod | None
    rule: str | None
    first_low_ns: int | None
    first_read_shared: bool


def account_of(
    at_ns: Sequence[int],
    low_ns: Sequence[int],
    content: Sequence[int],
    ids: Mapping[int, int],
    totals: Mapping[int, int],
    reported: int | None,
) -> TokenAccount:
    """The account of events that were complete at `at_ns`, and not yet at `low_ns`.

    `content` is 1 where an event had text of some kind.  `ids` and `totals` are the number of
    token ids and the running total that stand in an event, by its position.  `reported` is the
    server's final number.

    The server's own account of each event decides where it gives one: token ids, else continuous
    usage.  Else events with content count, and the reported number is spread over them, unless it
    is 0, which content contradicts.
    """
    with_content = sum(content)
    if with_content and not reported:
        reported = None
    if ids and len(ids) >= with_content:
        counts = [ids.get(position, 0) for position in range(len(at_ns))]
        method, rule = TokenMethod.TOKEN_IDS, "token_ids"
    elif len(totals) >= max(with_content, 2):
        counts = _increments([totals.get(position, 0) for position in range(len(at_ns))])
        method, rule = TokenMethod.CONTINUOUS_USAGE, "continuous_usage"
    else:
        counts = _spread(content, with_content, reported)
        method = TokenMethod.EVENTS if reported is None else TokenMethod.USAGE_SPREAD
        rule = "content"
    arrival = array("q", compress(at_ns, counts))
    tokens = array("i", filter(None, counts))
    known = bool(arrival)
    return TokenAccount(
        arrival,
        tokens,
        output_tokens=reported if reported is not None else sum(tokens) if known else None,
        method=method if known else None,
        rule=rule if known else None,
        first_low_ns=next(compress(low_ns, counts), None),
        first_read_shared=len(arrival) > 1 and arrival[0] == arrival[1],
    )


def _increments(totals: Sequence[int]) -> list[int]:
    """Tokens of each event from the running totals beside them; 0 where none is told."""
    counts, before = [], 0
    for total in totals:
        counts.append(max(0, total - before))
        before = max(before, total)
    return counts


def _spread(content: Sequence[int], events: int, total: int | None) -> list[int]:
    """`total` tokens over `events` content events as evenly as whole numbers allow."""
    if not events or total is None or total == events:
        return list(content)
    counts, seen = [], 0
    for carries in content:
        if not carries:
            counts.append(0)
            continue
        before = -(-seen * total // events)
        seen += 1
        counts.append(-(-seen * total // events) - before)
    return counts
