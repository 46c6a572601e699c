"""Acceptance: a checklist planned, its measured items conducted, everything judged.

settings    what a deployment says of itself: choices, hooks, pairs, exporters (acceptance.yaml)
evidence    attestations and imported result files
plan        checklist and settings → activities, each made once for all checks that need it
campaign    makes the activities in order, resumable between them
facts       what checks read: judged runs, observations, evidence
checks      the table of checks, small functions from facts to a finding
importers   result files of other tools, one small reader each
documents   acceptance.json, junit.xml, summary.md
"""
