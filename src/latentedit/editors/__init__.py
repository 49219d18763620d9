"""Editors: ours, the methods of other papers, and what they share."""
