"""A channel in a test's hands, and the changes of others."""

from msgspec.structs import replace

from ssyncd.protocol.channel import Channel, State
from ssyncd.protocol.ghosts import MemoryGhosts
from ssyncd.protocol.messages import Authorized, Changes, IndexPage, Init, ServerChange, parse_frame

INIT = Init("bucket", "token", "app", "client")
INDEX = "i:1:::500"
ADD = {"a": {"o": "+", "v": 1}}


def opening(first=INDEX, init=INIT):
    """What is said on a new connection: `init`, with what is asked first."""
    return replace(init, command=first).text(0)


def change(key, version, diff=None, source=None, cv="", ccids=("foreign",), op="M"):
    diff = None if op == "-" else ADD if diff is None else diff
    return ServerChange("other", key, op, ccids, diff, source, version, cv or f"cv-{key}-{version}")


class Client:
    """A channel, taken to a state by the messages a server would send."""

    def __init__(self, store=None, **options):
        self.store = store or MemoryGhosts()
        self.channel = Channel(INIT, self.store, **options)
        self.events = []

    def hear(self, *messages):
        self.events = []
        for message in messages:
            self.events += self.channel.receive(parse_frame(message) if isinstance(message, str) else message)
        return self.events

    def said(self):
        return self.channel.outgoing()

    def connect(self):
        self.channel.opened()
        self.hear(Authorized("me"))
        self.said()
        return self

    def live(self, *entries):
        self.connect()
        self.hear(IndexPage(entries, "start"))
        self.said()
        assert self.channel.state is State.LIVE
        return self

    def back(self, *changes):
        """Reconnect and hear what came since."""
        self.connect()
        return self.hear(Changes(changes))
