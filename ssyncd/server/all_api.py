"""Changes of all users in the buckets of one name (section 6 of the notes, `all`); for an admin token."""

import asyncio
from collections.abc import Iterator

from aiohttp import web
from msgspec import Struct

from ssyncd.errors import RefusedError
from ssyncd.protocol.encoding import loads
from ssyncd.server.answers import app_of, as_json, bucket_name, services, signed_in
from ssyncd.server.changes_api import MOST, POLL_SECONDS, SIZE
from ssyncd.server.entries import encode
from ssyncd.server.hub import Waiter
from ssyncd.server.services import Services
from ssyncd.server.storage.base import Row

BATCH = 100
# Positions are those of the whole log, as if it were one bucket of this number, which none has.
WHOLE = 0


def routes() -> list[web.AbstractRouteDef]:
    return [web.get(r"/1/{app}/{bucket}/all", get_all)]


async def get_all(request: web.Request) -> web.Response:
    """At once if there are some after the cv, else as soon as there are; none after a while."""
    core = services(request)
    if not signed_in(request).admin:
        raise RefusedError("this needs an admin token", 403)
    wanted = _wanted(request)
    waiter = Waiter(wanted.position)
    core.hub.watch(waiter)
    try:
        async with asyncio.timeout(POLL_SECONDS):
            while not (found := await core.read(wanted.read, core)) and not core.hub.closing:
                await waiter.again()
    except TimeoutError:
        found = []
    finally:
        core.hub.unwatch(waiter)
    return as_json(found)


def _wanted(request: web.Request) -> "_Wanted":
    core, query = services(request), request.query
    position = 0
    if cv := query.get("cv", ""):
        known = core.writer.positions.parse(WHOLE, cv)
        if known is None:
            raise RefusedError("unknown cv", 404)
        position = known
    batch = query.get("batch", "")
    return _Wanted(
        app_of(request),
        bucket_name(request),
        position,
        most=max(1, min(int(batch), MOST)) if batch.isdecimal() and len(batch) < 10 else BATCH,
        skip=frozenset(query.getall("skip_clientid", [])),
        members=frozenset(name for name in ("data", "username", "most_recent") if query.get(name) in ("1", "true")),
    )


class _Wanted(Struct, frozen=True):
    """What an admin asks for."""

    app: str
    name: str
    position: int
    most: int
    skip: frozenset[str]
    members: frozenset[str]

    def read(self, core: Services) -> list[dict[str, object]]:
        """Blocks."""
        found: list[tuple[int, dict[str, object]]] = []
        for user, app, name, bucket in core.storage.all_buckets():
            if (app, name) == (self.app, self.name):
                found += [(row.position, self._change(core, user, row)) for row in self._rows(core, bucket)]
        found.sort(key=lambda one: one[0])
        return [change for _, change in found[: self.most]]

    def _rows(self, core: Services, bucket: int) -> list[Row]:
        """The first of a bucket, as many as can be needed."""
        position = self.position
        rows: list[Row] = []
        while len(rows) < self.most and (some := core.storage.since(bucket, position, self.most, SIZE)):
            position = some[-1].position
            rows += self._chosen(core, bucket, some)
        return rows[: self.most]

    def _chosen(self, core: Services, bucket: int, rows: list[Row]) -> Iterator[Row]:
        heads = core.storage.heads({bucket: {row.key for row in rows}}) if "most_recent" in self.members else {}
        for row in rows:
            head = heads.get((bucket, row.key))
            if (head is None or head.position == row.position) and row.client not in self.skip:
                yield row

    def _change(self, core: Services, user: str, row: Row) -> dict[str, object]:
        change: dict[str, object] = loads(encode(row, core.writer.positions).text)
        change["id"] = f"{user}/{row.key}"
        change["cv"] = core.writer.positions.text(WHOLE, row.position)
        if "data" in self.members:
            data = core.storage.version(row.bucket, row.key, row.version)
            change["d"] = None if data is None else loads(data)
        if "username" in self.members:
            known = core.accounts.of(self.app).by_id(user)
            change["username"] = "" if known is None else known.name
        return change
