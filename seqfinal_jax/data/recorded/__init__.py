"""Recorded sequences: images that come with their time, from folders, arrays and published archives."""
