"""Node sends a removal of its own for every removal it hears of (section 4, "Node echoes every removal").

One that comes after the object was made again would remove the new object. So the removals told to such a client are counted,
and a removal from it without `sv` first uses up that count.
"""

LIBRARY = "node-simperium"
CLIENTS = 1000
KEYS = 10_000


class Echoes:
    """Expected echoes in one bucket, by client id; over reconnects, within bounds."""

    def __init__(self) -> None:
        self._expected: dict[str, dict[str, int]] = {}

    def told(self, client: str, key: str) -> None:
        """The client was told of a removal that is not its own."""
        keys = self._expected.setdefault(client, {})
        keys[key] = keys.get(key, 0) + 1
        if len(keys) > KEYS:
            del keys[next(iter(keys))]
        if len(self._expected) > CLIENTS:
            del self._expected[next(iter(self._expected))]

    def heard(self, client: str, key: str) -> bool:
        """Whether a removal by this client is an echo; uses it up."""
        keys = self._expected.get(client, {})
        if key not in keys:
            return False
        keys[key] -= 1
        if not keys[key]:
            del keys[key]
        if not keys:
            del self._expected[client]
        return True

    def __bool__(self) -> bool:
        return bool(self._expected)
