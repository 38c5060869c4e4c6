"""Trials, systems, metrics with intervals, comparisons: what the evaluation pages and `python -m core evaluate` say."""
