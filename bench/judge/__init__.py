"""From a run folder to values and a verdict: metrics, statistics, profiles, validity."""
