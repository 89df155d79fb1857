from ssyncd.content.body import Body
from ssyncd.folder.bodies import Bodies


def test_the_least_recently_used_go_first_when_there_are_too_many() -> None:
    bodies = Bodies(limit=10_000)
    for name in "abc":
        bodies.add(name, Body(b"x" * 3000))
    assert bodies.get("a") is not None
    bodies.add("d", Body(b"x" * 3000))
    assert bodies.get("b") is None
    assert bodies.get("a") is not None


def test_one_that_is_larger_than_all_room_is_kept_alone() -> None:
    bodies = Bodies(limit=100)
    bodies.add("small", Body(b"x"))
    bodies.add("large", Body(b"x" * 1000))
    assert bodies.get("large") is not None
    assert bodies.get("small") is None


def test_adding_again_and_dropping_keep_the_sum_right() -> None:
    bodies = Bodies(limit=1000)
    for _ in range(100):
        bodies.add("a", Body(b"x" * 400))
    bodies.drop("a")
    bodies.drop("a")
    bodies.add("b", Body(b"x" * 400))
    bodies.add("c", Body(b"x" * 300))
    assert bodies.get("b") is not None
    assert bodies.get("c") is not None


def test_of_those_that_have_served_the_last_few_are_kept() -> None:
    bodies = Bodies(limit=100_000, served_limit=10_000)
    for name in "abcdefgh":
        bodies.add(name, Body(b"x" * 3000))
    for name in "abcadez":
        bodies.served(name)
    assert [name for name in "abcdefgh" if bodies.get(name) is not None] == ["c", "d", "e", "f", "g", "h"]
    bodies.add("c", Body(b"x" * 3000))
    bodies.served("f")
    assert bodies.get("c") is not None, "it is wanted anew"
    bodies.drop("d")
    bodies.served("g")
    assert [name for name in "cefgh" if bodies.get(name) is None] == []
    bodies.clear()
    assert (bodies.size, bodies._served_size) == (0, 0)


def test_how_much_is_kept_is_known() -> None:
    bodies = Bodies()
    bodies.add("a", Body(b"x" * 1000))
    assert bodies.size >= 1000
    bodies.clear()
    assert bodies.get("a") is None
    assert bodies.size == 0
