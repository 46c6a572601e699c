"""Attested: what a person signed, as long as it holds."""

from __future__ import annotations

from bench.accept.checks.check import Asked, Check, Parameters
from bench.accept.missing import Unavailable, missing
from bench.judge.checklist import Basis
from bench.judge.checklist_result import Finding
from bench.judge.metric import Text
from bench.judge.verdict import Result


def lacking(asked: Asked, none: Unavailable) -> Unavailable:
    """What to say of a part without evidence: `none`, or that there is some of another service."""
    other = asked.facts.evidence.elsewhere.get((asked.item, asked.part))
    if other is not None:
        return missing("elsewhere", other=other, target=asked.facts.target)
    return none


def attested(asked: Asked, _: Parameters) -> Finding:
    evidence = asked.facts.evidence
    statement = evidence.statement(asked.item, asked.part)
    if statement is None:
        raise lacking(asked, missing("attested"))
    if evidence.expired(statement):
        raise missing("expired", by=statement.by, expires=statement.expires)
    return asked.finding(
        Result(statement.result),
        Text(statement.statement, statement.statement),
        links=(statement.link,),
        by=statement.by,
        at=statement.at.isoformat(),
        expires=statement.expires.isoformat(),
    )


ATTESTED = (Check("attested", frozenset({Basis.ATTESTED}), attested),)
