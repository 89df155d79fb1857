"""Where the server is, and who we are there."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssyncd import places, serving
from ssyncd.credentials import EMBEDDED, Credentials
from ssyncd.errors import SignInError
from ssyncd.network.login import APP, DEFAULT_SERVICE, Service, sign_in, websocket_url


@dataclass(frozen=True, slots=True)
class Secrets:
    """A server and an access token. `url` is http(s); `app` the application's id there; `ca_file` has the authorities to trust
    instead of the system's (PEM); `websocket_url` is where the socket is, if not below `url`. `ssyncd user token NAME` prints a
    token."""

    url: str
    user: str
    token: str = field(repr=False)
    app: str = APP
    ca_file: Path | None = None
    websocket_url: str = ""

    @property
    def socket(self) -> str:
        """The URL of the websocket."""
        return self.websocket_url or websocket_url(self.url, self.app)

    @classmethod
    def from_login(cls, url: str = "", ca_file: Path | None = None) -> "Secrets":
        """What `ssyncd login` keeps: of the server at `url`, or of the latest sign-in, or of the built-in server on this machine.

        SignInError if this machine is not signed in there, or no built-in server runs.
        """
        here = places.find()
        credentials = Credentials(here.credentials)
        url = url or credentials.current
        saved = credentials.get(url) if url else credentials.get(EMBEDDED)
        if saved is None:
            raise SignInError(f"{url or 'no server'}: this machine is not signed in there: use ssyncd login")
        return cls._of(saved, url or _embedded_url(here.data), ca_file)

    @classmethod
    def sign_in(cls, url: str, user: str, password: str, device: str, service: Service | None = None) -> "Secrets":
        """A new token for a name and a password. SignInError, NetworkError, RemoteError."""
        service = service or DEFAULT_SERVICE
        account = sign_in(url, user, password, device, service)
        return cls(account.url, account.user, account.token, account.app, service.ca_file, account.websocket_url)

    @classmethod
    def _of(cls, saved: dict[str, Any], url: str, ca_file: Path | None) -> "Secrets":
        try:
            user, token, app = (str(saved[name]) for name in ("user", "token", "app"))
        except KeyError as error:
            raise SignInError(f"{url}: the saved account is incomplete: sign in again") from error
        return cls(url, user, token, app, ca_file, str(saved.get("websocket_url", "")))


def _embedded_url(data: Path) -> str:
    with serving.election(data):
        found = serving.find(data)
    if found is None:
        raise SignInError("the built-in server does not run: `ssyncd start` starts it, `ssyncd login` uses another")
    return found.url
