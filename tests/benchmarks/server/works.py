"""What a server has to bear; each work makes one measurement against a server of its own."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.server.clients import Author, Client, Target, audience, farewell, serving, together
from tests.benchmarks.server.tally import Tally
from tests.benchmarks.sizes import Size

Result = dict[str, Any]
Work = Callable[[Path, Size], Awaitable[Result]]


async def idle(home: Path, size: Size) -> Result:
    """Clients that are connected and live, 5 in a folder, and send nothing but heartbeats."""
    count = size.of(1000)
    async with serving(home) as target:
        before = await _settled(target)
        groups = [await audience(target, f"folder{index}", 5, _deaf) for index in range(count // 5)]
        clients = [client for group in groups for client in group]
        with_clients = await _settled(target)
        began, at_first = time.perf_counter(), target.cost()
        for _ in range(3):
            await together([client.beat() for client in clients])
            await asyncio.sleep(size.of(20))
        spent, elapsed = target.cost().since(at_first).cpu, time.perf_counter() - began
        await farewell(clients)
        return {
            "clients": len(clients),
            "bytes per client": (with_clients - before) // len(clients),
            "CPU %": round(100 * spent / elapsed, 2),
            "resident bytes": with_clients,
        }


async def _settled(target: Target) -> int:
    """Resident bytes, once the server has had a moment for what is left to do."""
    await asyncio.sleep(1)
    return target.cost().resident


def _deaf(_client: Client, _elements: list[dict[str, Any]]) -> None:
    raise RuntimeError("an idle client was told something")


async def folders(home: Path, size: Size) -> Result:
    """200 folders of two clients, one of which edits small files as fast as the server answers, 20 at a time."""
    async with serving(home) as target:
        clients, tally = await _pairs(target, 200)
        authors = [Author(pair[0], 10) for pair in clients]
        each = size.of(300)
        result = await _flooded(target, tally, authors, each, 20)
        await farewell([client for pair in clients for client in pair])
        return result


async def latency(home: Path, size: Size) -> Result:
    """The same folders with 500 edits a second in all: from sending an edit to the last receipt."""
    async with serving(home) as target:
        clients, tally = await _pairs(target, 200)
        before = target.cost()
        count = size.of(5000)
        await tally.paced([Author(pair[0], 10) for pair in clients], count, 500)
        await tally.complete()
        spent = target.cost().since(before).cpu
        await farewell([client for pair in clients for client in pair])
        return {"changes": count, **tally.latency(), "CPU ms per change": round(1000 * spent / count, 3)}


async def _pairs(target: Target, count: int) -> tuple[list[list[Client]], Tally]:
    tally = Tally(2)
    return [await audience(target, f"folder{index}", 2, tally.heard) for index in range(count)], tally


async def _flooded(target: Target, tally: Tally, authors: list[Author], each: int, window: int) -> Result:
    count = each * len(authors)
    began, before = time.perf_counter(), target.cost()
    await asyncio.gather(*(tally.flood(author, each, window) for author in authors))
    await tally.complete()
    elapsed, spent = time.perf_counter() - began, target.cost().since(before)
    return {
        "changes": count,
        "changes per s": round(count / elapsed),
        "changes per CPU s": round(count / spent.cpu),
        "server cores": round(spent.cpu / elapsed, 2),
        **tally.latency(),
        "peak bytes": spent.peak,
    }


async def bulk(home: Path, size: Size) -> Result:
    """One client that sends a whole folder of new files: 500 changes in flight, heard by one other."""
    async with serving(home) as target:
        tally = Tally(2)
        clients = await audience(target, "folder", 2, tally.heard)
        count = size.of(30_000)
        result = await _flooded(target, tally, [Author(clients[0], count)], count, 500)
        await farewell(clients)
        return result


async def fan_out(home: Path, size: Size) -> Result:
    """One folder with 200 clients: 20 edits a second, heard by all, then one author's flood."""
    async with serving(home) as target:
        tally = Tally(200)
        clients = await audience(target, "folder", 200, tally.heard)
        author = Author(clients[0], 10)
        await tally.paced([author], size.of(200), 20)
        await tally.complete()
        paced = tally.latency()
        flood = await _flooded(target, tally, [author], size.of(2000), 50)
        await farewell(clients)
        deliveries = {"deliveries per CPU s": flood["changes per CPU s"] * len(clients)}
        return {**paced, **deliveries, "flood": {name: flood[name] for name in ("changes per s", "peak bytes")}}


async def slow_reader(home: Path, size: Size) -> Result:
    """A client that stops reading while others exchange 40 MB; then it reads on, and gets everything."""
    async with serving(home) as target:
        others, count = Tally(2), size.of(5000)
        late = _Late(count)
        clients = await audience(target, "folder", 2, others.heard)
        slow = await target.client("folder", "slow")
        await slow.go_live()
        slow.reading.clear()
        slow.listen(late.heard)
        writer = Author(clients[0], 50, 8192)
        before = target.cost()
        await others.flood(writer, count, 50)
        await others.complete()
        held = target.cost()
        slow.reading.set()
        async with asyncio.timeout(60):
            await late.complete.wait()
        await farewell([*clients, slow])
        return {
            "changes": count,
            **others.latency(),
            "bytes held for it": held.resident - before.resident,
            "peak bytes": held.peak,
        }


class _Late:
    """Counts what a client hears, and that nothing is missing."""

    def __init__(self, count: int) -> None:
        self.complete = asyncio.Event()
        self._left = count

    def heard(self, _client: Client, elements: list[dict[str, Any]]) -> None:
        self._left -= len(elements)
        if self._left <= 0:
            self.complete.set()


async def history(home: Path, size: Size) -> Result:
    """Startup, catching up on 100 changes and a first look, after histories of different lengths on the same 100 entries."""
    result: Result = {}
    for length in (size.of(1000), size.of(10_000), size.of(100_000)):
        place = home / str(length)
        async with serving(place) as target:
            tally = Tally(1)
            clients = await audience(target, "folder", 1, tally.heard)
            author = Author(clients[0], 100)
            await tally.flood(author, length - 100, 500)
            await tally.complete()
            cv = await _current(target)
            await tally.flood(author, 100, 500)
            await tally.complete()
            await farewell(clients)
        result[f"{length} changes"] = await _again(place, cv)
    return result


async def _current(target: Target) -> str:
    client = await target.client("folder", "looking")
    await client.go_live()
    await client.close()
    return client.cv


async def _again(place: Path, cv: str) -> Result:
    async with serving(place) as target:
        client = await target.client("folder", "later")
        began = time.perf_counter()
        found = await client.catch_up(cv)
        caught_up = time.perf_counter() - began
        if len(found) != 100:
            raise RuntimeError(f"{len(found)} changes where 100 were missed")
        await client.close()
        began = time.perf_counter()
        await _current(target)
        return {
            "startup s": round(target.started, 2),
            "startup CPU s": target.startup.cpu,
            "catch up ms": round(caught_up * 1000, 1),
            "first look ms": round((time.perf_counter() - began) * 1000, 1),
        }
