from ssyncd.server.rates import SOURCES, Rate


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_minute_s_tries_may_come_at_once_and_then_evenly() -> None:
    clock = Clock()
    rate = Rate(6, clock)
    assert [rate.wait("a") for _ in range(8)] == [0, 0, 0, 0, 0, 0, 10, 10]
    assert rate.wait("b") == 0
    clock.now = 9.0
    assert rate.wait("a") == 1
    clock.now = 10.0
    assert [rate.wait("a"), rate.wait("a")] == [0, 10]
    clock.now = 1000.0
    assert [rate.wait("a") for _ in range(7)] == [0, 0, 0, 0, 0, 0, 10]


def test_sources_are_bounded() -> None:
    rate = Rate(1, Clock())
    for number in range(SOURCES + 1):
        assert rate.wait(number) == 0
    assert len(rate._spent) == SOURCES
    assert rate.wait(SOURCES) == 60
