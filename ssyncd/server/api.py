"""All the paths of the server."""

from aiohttp import web

from ssyncd import __version__
from ssyncd.content.packed import FORM
from ssyncd.errors import RefusedError, StateError
from ssyncd.server import accounts_api, admin_api, all_api, changes_api, chunks_api, objects_api
from ssyncd.server.accounts_api import RATES, SignInRates
from ssyncd.server.answers import SERVICES, as_json, error, errors_as_json, services
from ssyncd.server.chunks_api import CHECKS, CHECKS_PER_MINUTE
from ssyncd.server.rates import Rate
from ssyncd.server.services import Services
from ssyncd.server.sessions import SESSIONS, Sessions


def make_app(core: Services) -> web.Application:
    settings = core.settings
    app = web.Application(middlewares=[errors_as_json], client_max_size=settings.message_limit)
    app[SERVICES] = core
    app[SESSIONS] = Sessions()
    app[RATES] = SignInRates(settings.sign_ins_per_minute)
    app[CHECKS] = Rate(CHECKS_PER_MINUTE)
    app.router.add_get("/healthz", health)
    app.router.add_get(r"/sock/1/{app}/websocket", app[SESSIONS].serve)
    app.router.add_get(r"/1/{app}{end:/?}", about)
    app.router.add_routes(accounts_api.routes())
    app.router.add_routes(objects_api.routes())
    app.router.add_routes(changes_api.routes())
    app.router.add_routes(all_api.routes())
    app.router.add_routes(admin_api.routes())
    app.router.add_routes(chunks_api.routes())
    return app


async def health(request: web.Request) -> web.Response:
    core = services(request)
    try:
        core.storage.runs()
    except StateError:
        return error(503, "the server cannot read its storage")
    if core.writer.failure:
        return error(503, "the server cannot write to its storage")
    return as_json({"status": "ok", "version": __version__})


async def about(request: web.Request) -> web.Response:
    """What this server has beyond plain Simperium."""
    core = services(request)
    app = core.applications.find(request.match_info["app"])
    settings = core.settings
    if settings.plain or app is None:
        raise RefusedError("not found", 404)
    limits = {
        "object": settings.object_limit,
        "chunk": settings.chunk_limit,
        "request": settings.request_limit,
        "window": settings.window,
    }
    each = dict.fromkeys(("chunks", "devices", "forget", "gaps", "lean", "moments", "notices", "removed"), 1)
    offers = {**each, "packed": FORM}
    return as_json({"app": app.id, "server": f"ssyncd/{__version__}", **offers, "limits": limits})
