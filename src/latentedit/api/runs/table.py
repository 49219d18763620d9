"""The type of tables."""

from typing import Any

Table = Any
"""A pandas DataFrame. Its annotations give a union for every selection, and strict checks would report each use."""
