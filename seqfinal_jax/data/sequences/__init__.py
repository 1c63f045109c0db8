"""Sequences of time steps: what determines one, how it is drawn, kept and handed to a run."""
