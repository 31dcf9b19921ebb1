"""Measure how fast servers are."""
