"""The check that alert thresholds exist as rules a Prometheus server takes."""

from __future__ import annotations

from bench.accept.checks.check import MEASURED, Asked, Check, Parameters
from bench.accept.missing import missing
from bench.judge.alerts import AlertRules, alert_rules
from bench.judge.checklist_result import Finding
from bench.judge.metric import Text
from bench.judge.profile import load_profile
from bench.servers.families import family_named


class RulesParameters(Parameters):
    """The profile whose alert levels are turned into rules."""

    profile: str


def rules_for(profile: str, family: str) -> AlertRules:
    return alert_rules(load_profile(profile), family_named(family))


def alert_thresholds(asked: Asked, wanted: RulesParameters) -> Finding:
    """alerts.yml of the acceptance folder: one rule for each alert level the server can express."""
    family = asked.facts.family
    rules = rules_for(wanted.profile, family)
    levels = rules.count + len(rules.left_out)
    if not levels:
        raise missing(
            "no_value",
            why=Text(
                f"SLO 配置 {wanted.profile} 没有告警级别",
                f"profile {wanted.profile} has no alert level",
            ),
        )
    left = ", ".join(rules.left_out)
    text = Text(
        f"{levels} 个告警阈值中生成 {rules.count} 条规则" + (f"；缺 {left}。" if left else "。"),
        f"{rules.count} rules for {levels} alert levels" + (f"; not {left}." if left else "."),
    )
    return asked.held(rules.count, levels, "higher", "1", text, n=levels, links=("alerts.yml",))


RULES = (Check("alert_thresholds", MEASURED, alert_thresholds, RulesParameters),)
