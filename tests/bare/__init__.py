"""Measured rows, and what makes and fits them."""
