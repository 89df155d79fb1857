"""ssyncd as this user has it on this machine: settings, credentials, and what follows from both for a folder."""

import dataclasses
import getpass
import hashlib
import json
import logging
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from ssyncd import config, places
from ssyncd.config import Config, FolderConfig
from ssyncd.credentials import EMBEDDED, Credentials
from ssyncd.embedded import Housing
from ssyncd.errors import RootError, SignInError, SsyncdError, UsageError

if TYPE_CHECKING:
    from ssyncd.folder import FolderSettings
    from ssyncd.folder.states import Known
    from ssyncd.network.login import Account


_log = logging.getLogger(__name__)

RANDOM_ID = 32
"""Letters that a user's id has at least where no two servers have the same: 128 bits, as ours and Simperium's."""


class Wanted(Struct, frozen=True):
    """A folder to run, through an account."""

    settings: "FolderSettings"
    account: "Account"

    @property
    def path(self) -> Path:
        return self.settings.path

    @property
    def name(self) -> str:
        return self.settings.name


class Installation:
    """`config` is read when first asked for, and again after `reload`."""

    def __init__(self, where: places.Places) -> None:
        self.places = where
        self.credentials = Credentials(where.credentials)
        self._config: Config | None = None

    @property
    def config(self) -> Config:
        if self._config is None:
            self._config = config.load(self.places.config)
        return self._config

    def reload(self) -> None:
        """ConfigError leaves the settings as they were."""
        self._config = config.load(self.places.config)

    @property
    def housing(self) -> Housing:
        return Housing(self.places.data, self.places.state, self.config.embedded.listen, self.places.config)

    # accounts

    def server_url(self) -> str:
        """The server to use; "" for the built-in one."""
        return self.config.server.url or self.credentials.current

    def account(self, url: str) -> "Account":
        """The account this machine is signed in with at a server. SignInError if it is not."""
        saved = self.credentials.get(url)
        if saved is None:
            raise SignInError(
                f"{url}: this machine is not signed in there" if url else "this machine is signed in nowhere"
            )
        account = _account(saved)
        elsewhere = self.config.server.websocket_url
        return replace(account, websocket_url=elsewhere) if elsewhere else account

    def keep(self, account: "Account") -> None:
        self.credentials.put(account.url, asdict(account))

    def embedded_account(self, url: str) -> tuple["Account", bool]:
        """The account at the built-in server, and whether it was made just now."""
        with places.locked(self.places.state / "embedded.lock"):
            saved = self.credentials.get(EMBEDDED)
            if saved is not None and self._known(saved):
                return replace(_account(saved), url=url), False
            account = self._new_embedded_account(url)
            self.credentials.put(EMBEDDED, asdict(account))
            return account, True

    def _known(self, saved: dict[str, Any]) -> bool:
        """Whether the server still has this token: its data may have been removed or restored from a backup."""
        from ssyncd.server.accounts import open_accounts

        with open_accounts(self.places.data) as accounts:
            return accounts.check(str(saved.get("token"))) is not None

    def _new_embedded_account(self, url: str) -> "Account":
        from ssyncd.network.login import Account
        from ssyncd.server.accounts import open_accounts

        with open_accounts(self.places.data) as accounts:
            names = accounts.names()
            user = _whose(names)
            if user not in names:
                accounts.add(user, secrets.token_urlsafe(24))
            token = accounts.token(user, self.config.device_name)
            known = accounts.check(token)
        if known is None:
            raise SsyncdError(f"{self.places.data}: the new token is not there")
        return Account(url=url, app="ssyncd", user=user, user_id=known.user, token=token)

    # folders

    def chosen(self, folder: Path | None, name: str | None) -> list[FolderConfig]:
        """The folder named on the command line, else all configured ones. UsageError if there is none."""
        if folder is None:
            if name:
                raise UsageError("--name needs a FOLDER")
            if not self.config.folder:
                raise UsageError(f"no folder: name one, or add [[folder]] to {self.places.config}")
            return list(self.config.folder)
        path = _resolved(folder)
        for known in self.config.folder:
            if _resolved(known.path) == path:
                return [dataclasses.replace(known, name=name or known.name)]
        return [FolderConfig(path, name or "")]

    def wanted(self, folder: FolderConfig, account: "Account", pull: bool = False) -> Wanted:
        """UsageError if there is no name for it."""
        from ssyncd.folder import Direction, FolderSettings

        path = _resolved(folder.path)
        known = self._remembered(path, folder.name, account)
        name = folder.name or (known.name if known is not None else path.name)
        if not name:
            raise UsageError(f"{path}: has no name: give it one with --name")
        state = self._state(path, name, account)
        settings = FolderSettings(
            path=path,
            name=name,
            state=state,
            device=self.config.device_name,
            direction=Direction.PULL if pull else Direction.BOTH,
            ca_file=self.config.server.ca_file,
            text_merge=self.config.text_merge,
            hold_share=self.config.hold_share,
            hold_least=self.config.hold_least,
            workers=self.config.workers,
            ignore=folder.ignore,
            object_limit=self.config.server.object_limit,
            upload_limit=self.config.upload_limit * 1024,
            download_limit=self.config.download_limit * 1024,
        )
        return Wanted(settings, account)

    def make_ready(self, wanted: Wanted) -> None:
        """What is remembered of a folder follows it to another path, and a directory is made if there never was one. One that is
        known and missing stays so: a disk may not be mounted. RootError, StateError."""
        path, state = wanted.path, wanted.settings.state
        known = self._remembered(path, wanted.name, wanted.account)
        if known is not None:
            known.move(state)
            _log.info("%s: this folder was at %s before", path, known.path)
        try:
            if not (path.is_dir() or state.exists()):
                path.mkdir(parents=True)
        except FileExistsError as error:
            raise RootError(f"{path}: this is no directory") from error
        except OSError as error:
            raise RootError(f"{path}: cannot be used: {error.strerror}") from error

    def _remembered(self, path: Path, name: str, account: "Account") -> "Known | None":
        """The folder at a path, if it is known by another name than the one to expect, or from elsewhere; by the name that is
        given, if one is."""
        from ssyncd.folder.states import known

        for one in known(self._states, path, self._state(path, name or path.name, account)):
            # At this path it was started before, but had not got so far as to note that.
            mine = {self._state(at, one.name, account) for at in (one.path, path)}
            if one.directory in mine and name in ("", one.name):
                return one
        return None

    @property
    def _states(self) -> Path:
        return self.places.state / "folders"

    def _state(self, path: Path, name: str, account: "Account") -> Path:
        """One directory for each folder at one account: what is known of one server means nothing at another. Where the user's
        id is a random one it is the same server, whatever its URL is now."""
        server = "" if len(account.user_id) >= RANDOM_ID else account.url
        identity = [server, account.app, account.user_id, str(path), name]
        digest = hashlib.blake2b(json.dumps(identity).encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()
        plain = "".join(one if one.isalnum() or one in "._-" else "_" for one in name)[:40]
        return self._states / f"{plain}-{digest}"


def _account(saved: dict[str, Any]) -> "Account":
    from ssyncd.network.login import Account

    try:
        return Account(**{key: value for key, value in saved.items() if key in Account.__struct_fields__})
    except TypeError as error:
        raise SignInError(f"{saved.get('url')}: the saved account is incomplete: sign in again") from error


def _whose(names: list[str]) -> str:
    """Who the built-in server's account belongs to: the only one there is, or one with the login name."""
    if len(names) == 1:
        return names[0]
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no such user in the password database, and no environment
        return "me"


def _resolved(path: Path) -> Path:
    try:
        return path.expanduser().resolve()
    except (OSError, RuntimeError) as error:
        raise RootError(f"{path}: cannot be used: {error}") from error
