"""Training: the engine, and the objectives that it minimises."""
