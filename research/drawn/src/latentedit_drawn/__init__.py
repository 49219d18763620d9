"""Drawn portraits: their renderer, correct results, and the domain that benchmarks and training draw from."""
