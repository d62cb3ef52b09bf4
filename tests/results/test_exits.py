"""The split of a mean exit time, by hand."""

import pytest

from snnbook.results import exits, paper


def test_the_split_by_hand():
    """Of ten samples one is wrong and counts 10; the others wait 0, 0, 0, 0, 0, 0, 1, 1 and 2 steps."""
    found = exits.split(0.9, (10 + 4) / 10, 10)
    assert found == pytest.approx((1.0, 1 / 1.4, 4 / 9))


def test_without_errors_all_time_is_waiting():
    assert exits.split(1.0, 0.5, 10) == (0.0, 0.0, 0.5)


def test_the_parts_of_the_papers_last_line():
    """0.0091 of all samples count 10 steps: 0.091 of 0.128."""
    found = exits.split(paper.TABLE_5_ACCURACY[-1] / 100, paper.TABLE_5_TIME[-1], 10)
    assert found.errors == pytest.approx(0.091)
    assert found.share == pytest.approx(0.711, abs=1e-3)
    assert found.right == pytest.approx(0.0373, abs=1e-4)
