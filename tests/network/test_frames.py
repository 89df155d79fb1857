import os

from ssyncd.network import frames
from ssyncd.network.frames import BINARY, TEXT, Frames


def test_each_frame_has_a_mask_of_its_own_and_the_system_is_asked_once_for_all(monkeypatch):
    asked, random = [], os.urandom
    monkeypatch.setattr(os, "urandom", lambda size: asked.append(size) or random(size))
    batch = [(TEXT, bytes(8)), (BINARY, bytes(8))] * 50
    encoded = frames.encode(batch)
    assert asked == [400]
    assert Frames(limit=100).feed(encoded) == batch
    heads = [encoded[at : at + 6] for at in range(0, len(encoded), 14)]
    assert [head[:2] for head in heads] == [b"\x81\x88", b"\x82\x88"] * 50
    assert len({head[2:] for head in heads}) == 100


def test_frames_of_every_length_come_back_as_they_were():
    batch = [(TEXT, b"x" * length) for length in (0, 1, 125, 126, 65_535, 65_536)]
    assert Frames(limit=100_000).feed(frames.encode(batch)) == batch
    assert frames.encode([]) == b""
