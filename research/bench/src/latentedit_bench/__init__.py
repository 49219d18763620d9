"""Measuring: data with known answers, metrics, rankings, experiments, reports."""
