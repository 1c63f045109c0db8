"""Base data sets: the images that sequences are cut from, and how their files are read."""
