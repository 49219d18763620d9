"""Experiments: questions with a plan that is fixed before anything is measured. One class a question.

An experiment has units, each of which gives rows; a statistic, which the rows decide; and a plot.
``latentedit reproduce`` runs experiments by their plans.
To add one, subclass `base.Experiment` and register the class in the entry-point group ``latentedit.experiments``.
"""
