"""Scoring on a Ray cluster: how it is reached, what its tasks and actors do, how much is in flight. Knows no store."""
