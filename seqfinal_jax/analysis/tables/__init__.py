"""Tables of a run: cells, summaries, captions, and how methods are called."""
