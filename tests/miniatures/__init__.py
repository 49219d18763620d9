"""Stock pipelines of every family with random weights, a few hundred kilobytes each, made without a download.

Nothing in them is trained: they exist so that an adapter can be compared with the stock pipeline.
"""
