"""What a run folder holds, and how it is written and read; below both the run, which writes it, and the analysis."""
