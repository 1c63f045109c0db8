"""The engine: all members of a fit, trained by compiled programs; it knows no method."""
