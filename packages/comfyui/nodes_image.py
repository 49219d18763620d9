"""Nodes for images."""

from typing import Any

NODES: list[Any] = []
