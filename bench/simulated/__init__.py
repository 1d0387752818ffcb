"""Bench A's parts: fleets, workloads, baselines, bounds."""
