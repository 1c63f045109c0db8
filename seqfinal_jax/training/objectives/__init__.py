"""What is minimised, and the state that an objective keeps while it is."""
