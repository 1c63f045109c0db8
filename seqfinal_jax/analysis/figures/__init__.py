"""Figures of a run: the record of one (`record`), those of this package (`every`), and what they share."""
