import pytest

from ssyncd.planner.safety import held


@pytest.mark.parametrize(
    ("deletions", "already", "size", "waits"),
    [
        (0, 0, 0, False),
        (1, 0, 1, False),
        (19, 0, 19, False),
        (20, 0, 20, True),
        (20, 0, 39, True),
        (20, 0, 40, False),
        (21, 0, 40, True),
        (5_000, 0, 10_000, False),
        (5_001, 0, 10_000, True),
        (1, 5_000, 10_000, True),
        (1, 4_999, 10_000, False),
        (1, 19, 20, True),
        (1, 18, 20, False),
    ],
)
def test_more_than_half_of_a_folder_waits_also_when_it_comes_in_pieces(deletions, already, size, waits):
    assert held(deletions, already, size, share=0.5, least=20) is waits


def test_the_share_and_the_least_number_are_settings():
    assert held(2, 0, 10, share=0.1, least=2)
    assert not held(10, 0, 10, share=1.0, least=2)
    assert not held(10, 0, 10, share=0.5, least=11)
