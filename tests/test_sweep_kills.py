"""A short form of `python -m tests.sweep_kills`."""

import random

import pytest

from tests.sweep_kills import rounds


@pytest.mark.slow
def test_killed_parts_of_a_sweep_change_no_file(tmp_path):
    assert rounds(tmp_path, 2, random.Random(1)) == 0
