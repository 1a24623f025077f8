"""Generators of the reference pages; not part of the wheel."""
