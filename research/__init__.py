"""Research: benchmark, domains, training, experiments and their results. Nothing of the products imports it."""
