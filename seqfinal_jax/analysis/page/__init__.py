"""The parts of a report: its facts, comparisons and pictures, and the template of the page."""
