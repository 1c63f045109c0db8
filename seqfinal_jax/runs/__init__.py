"""A run: planned, checked, fitted cell by cell, and written to its folder."""
