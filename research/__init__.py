"""Research: benchmark, domains, experiments and their results. Nothing of the products imports it."""
