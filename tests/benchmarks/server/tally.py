"""When each change was sent, and when everyone who should had heard of it."""

import asyncio
import statistics
import time
from typing import Any

from tests.benchmarks.server.clients import Author, Client


class Tally:
    """`hearers`: how many clients hear of each change, its author among them."""

    def __init__(self, hearers: int) -> None:
        self.accepted = 0
        self.refused = 0
        self._hearers = hearers
        self._sent: dict[str, tuple[float, int]] = {}
        self._took: list[float] = []
        self._room: dict[str, asyncio.Semaphore] = {}
        self._complete = asyncio.Event()

    def heard(self, client: Client, elements: list[dict[str, Any]]) -> None:
        now = time.perf_counter()
        for element in elements:
            if "error" in element:
                self.refused += 1
                continue
            ccid = element["ccids"][0]
            began, left = self._sent[ccid]
            if element["clientid"] == client.name:
                self.accepted += 1
                if client.name in self._room:
                    self._room[client.name].release()
            if left == 1:
                del self._sent[ccid]
                self._took.append(now - began)
                if not self._sent:
                    self._complete.set()
            else:
                self._sent[ccid] = (began, left - 1)

    async def send(self, author: Author) -> None:
        change = author.change()
        self._complete.clear()
        self._sent[change.ccid] = (time.perf_counter(), self._hearers)
        await author.client.send(change)

    async def flood(self, author: Author, count: int, window: int) -> None:
        """Send so many changes, with at most `window` unanswered."""
        room = self._room[author.client.name] = asyncio.Semaphore(window)
        for _ in range(count):
            await room.acquire()
            await self.send(author)

    async def paced(self, authors: list[Author], count: int, rate: float) -> None:
        """Send so many changes in all, the authors in turn, at so many a second."""
        began = time.perf_counter()
        for index in range(count):
            await asyncio.sleep(began + index / rate - time.perf_counter())
            await self.send(authors[index % len(authors)])

    async def complete(self) -> None:
        """Until everyone has heard of everything."""
        if self._sent:
            await self._complete.wait()
        if self.refused:
            raise RuntimeError(f"{self.refused} changes were refused")

    def latency(self) -> dict[str, float]:
        """Milliseconds from sending a change to its receipt by the last hearer."""
        took = sorted(self._took)
        return {
            "median ms": round(statistics.median(took) * 1000, 1),
            "p99 ms": round(took[min(len(took) - 1, int(len(took) * 0.99))] * 1000, 1),
        }
