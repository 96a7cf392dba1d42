"""Causes from data: which variable moves which, as far as a table can tell."""
