"""Pictures of the data themselves: examples, class counts, repeated shifts, sub-classes."""
