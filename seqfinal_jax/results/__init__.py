"""The contents of a run folder, and how they are written and read. Both the run and the analysis import this package."""
