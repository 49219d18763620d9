"""How results are shown: sheets of labeled images."""
