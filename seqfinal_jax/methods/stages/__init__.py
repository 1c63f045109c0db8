"""Stages of a method: what they train on and minimise, how they are fitted, and how their results are stored."""
