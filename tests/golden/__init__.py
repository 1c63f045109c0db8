"""Checks of reference arrays: `python -m tests.golden FOLDER [--only PATTERN]`.

The arrays beside this file are the small ones that the tests use; SEQFINAL_GOLDEN_DIR names the whole set.
"""
