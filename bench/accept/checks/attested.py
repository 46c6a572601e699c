"""Attested: what a person signed, as long as it holds."""

from __future__ import annotations

from bench.accept.checks.check import Asked, Check, Parameters
from bench.accept.missing import missing
from bench.judge.checklist import Basis
from bench.judge.checklist_result import Finding
from bench.judge.metric import Text
from bench.judge.verdict import Result


def attested(asked: Asked, _: Parameters) -> Finding:
    evidence = asked.facts.evidence
    statement = evidence.statement(asked.item, asked.part)
    if statement is None:
        raise missing("attested")
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
