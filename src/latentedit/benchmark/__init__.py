"""Editors against known answers: what is edited, by which methods, and how well."""
