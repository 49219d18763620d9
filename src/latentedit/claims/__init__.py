"""The claims of the papers as experiments with fixed plans, and the page of what became of them."""
