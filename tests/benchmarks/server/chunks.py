"""Chunks up and down, as many as a large file has, in the requests that the daemon makes."""

import asyncio
import os
import struct
import time
from pathlib import Path

from blake3 import blake3

from tests.benchmarks.server.clients import APP, Target, serving
from tests.benchmarks.server.works import Result
from tests.benchmarks.sizes import Size

CHUNK = 1024 * 1024
IN_REQUEST = 8
AT_ONCE = 4
_RECORD = struct.Struct(">32sI")


async def chunks(home: Path, size: Size) -> Result:
    """512 MiB of random chunks of 1 MiB up, asked for, and down, in four connections."""
    groups = [_group() for _ in range(size.of(512) // IN_REQUEST)]
    async with serving(home) as target:
        up = await _carried(target, "put", [body for _, body in groups])
        asked = await _carried(target, "missing", [b"".join(ids) for ids, _ in groups])
        down = await _carried(target, "get", [b"".join(ids) for ids, _ in groups], [body for _, body in groups])
        again = await _carried(target, "put", [body for _, body in groups[:8]])
        return {"MB": len(groups) * IN_REQUEST, "up": up, "ask": asked, "down": down, "up again": again}


async def small_chunks(home: Path, size: Size) -> Result:
    """10,000 chunks of 40 KB, in the same requests."""
    groups = [_group(40_000, 200) for _ in range(size.of(10_000) // 200)]
    async with serving(home) as target:
        up = await _carried(target, "put", [body for _, body in groups])
        down = await _carried(target, "get", [b"".join(ids) for ids, _ in groups], [body for _, body in groups])
        return {"chunks": len(groups) * 200, "up": up, "down": down}


def _group(length: int = CHUNK, count: int = IN_REQUEST) -> tuple[list[bytes], bytes]:
    """The ids of chunks that were never seen before, and the records that carry them in their raw stored form."""
    ids: list[bytes] = []
    records: list[bytes] = []
    for _ in range(count):
        plain = os.urandom(length)
        ids.append(blake3(plain).digest())
        records += (_RECORD.pack(ids[-1], length + 1), b"\0", plain)
    return ids, b"".join(records)


async def _carried(target: Target, what: str, bodies: list[bytes], expected: list[bytes] | None = None) -> Result:
    """Make these requests; MB a second and by second of the server's CPU, counting the larger of body and answer."""
    before, began = target.cost(), time.perf_counter()
    left = list(range(len(bodies)))
    carried = 0

    async def carry() -> None:
        nonlocal carried
        while left:
            index = left.pop()
            answer = await _request(target, what, bodies[index])
            if expected is not None and answer != expected[index]:
                raise RuntimeError("other chunks came back than were put")
            carried += max(len(answer), len(bodies[index]))

    await asyncio.gather(*(carry() for _ in range(AT_ONCE)))
    elapsed, spent = time.perf_counter() - began, target.cost().since(before)
    megabytes = carried / 1e6
    return {
        "MB per s": round(megabytes / elapsed),
        "MB per CPU s": round(megabytes / max(spent.cpu, 0.01)),
        "peak bytes": spent.peak,
    }


async def _request(target: Target, what: str, body: bytes) -> bytes:
    headers = {"X-Simperium-Token": target.token, "Content-Type": "application/octet-stream"}
    path = f"{target.url}/1/{APP}/folder/chunks/{what}"
    async with target.http.post(path, data=body, headers=headers) as response:
        answer = await response.read()
        if response.status != 200:
            raise RuntimeError(f"{what}: {response.status}: {answer[:200]!r}")
        return answer
