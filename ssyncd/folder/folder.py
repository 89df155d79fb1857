"""One synced folder and its control thread: start, run, stop."""

import logging
import random
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from ssyncd import __version__
from ssyncd.disk import system
from ssyncd.disk.real import RealDisk
from ssyncd.disk.root import is_missing, missing
from ssyncd.disk.watcher import DiskWatcher
from ssyncd.errors import (
    BusyError,
    NetworkError,
    RootError,
    ShortageError,
    SsyncdError,
    StateCorruptError,
    UnusableError,
)
from ssyncd.folder.agenda import delay_after
from ssyncd.folder.asked import Asked
from ssyncd.folder.board import Board
from ssyncd.folder.engine import Edge, Engine
from ssyncd.folder.graves import bury
from ssyncd.folder.history import History
from ssyncd.folder.inbox import Inbox
from ssyncd.folder.lineage import Lineage
from ssyncd.folder.lookout import Lookout
from ssyncd.folder.question import Question
from ssyncd.folder.record import Record
from ssyncd.folder.recovery import recover
from ssyncd.folder.report import Report
from ssyncd.folder.requests import answer
from ssyncd.folder.settings import FolderSettings
from ssyncd.folder.states import State
from ssyncd.network.base import Received
from ssyncd.network.chunks import RetryingChunks, open_store
from ssyncd.network.dial import Trust
from ssyncd.network.http import HttpServer
from ssyncd.network.login import Account, Extensions, bucket_name, discover
from ssyncd.network.throttle import limits
from ssyncd.network.websocket import WebSocketConnection
from ssyncd.planner.tree import Entry
from ssyncd.protocol.messages import Init
from ssyncd.status import FolderStatus, Hold, Phase, Trouble
from ssyncd.threads import begin
from ssyncd.transfer import Transfers

log = logging.getLogger(__name__)

T = TypeVar("T")

ROOT_RETRY = 3.0
"""Seconds between two looks whether a missing folder is back."""
PATIENCE = 30.0
"""Seconds the control thread may take to answer a quick request."""


class _Stop(Struct, frozen=True):
    pass


class _Ask(Struct, frozen=True):
    """Something to be done on the control thread."""

    function: Callable[[Engine], Any]
    future: Future[Any]


class Folder:
    """`start` returns once the folder is ours; everything else happens on threads that `stop` joins."""

    def __init__(self, settings: FolderSettings, account: Account) -> None:
        self.settings = settings
        self.account = account
        self.failure: SsyncdError | None = None
        self._inbox = Inbox()
        self._stopping = threading.Event()
        self._board = Board(FolderStatus(settings.name, str(settings.path), Phase.STARTING, account.url))
        self._asked: Asked | None = None
        self._approved = False
        self._thread = threading.Thread(target=self._run, name=f"folder {settings.name}")

    # For other threads.

    def start(self) -> None:
        """RootError, BusyError or StateError if the folder cannot be used. One that is missing, or known but not as it was, is
        held until it is back."""
        self._state = State(self.settings.state, self.settings.path)
        self._disk: RealDisk | None = None
        try:
            self._open_or_hold()
            begin(self._thread)
        except BaseException:
            self._close_disk()
            self._state.close()
            raise

    def _open_or_hold(self) -> None:
        try:
            self._disk = self._reopen()
        except BusyError:
            raise
        except RootError as error:
            if not (is_missing(self.settings.path) or self._state.database.agreed()):
                raise
            self._hold(error)

    def stop(self) -> None:
        self._stopping.set()
        self._inbox.put(_Stop())
        if self._thread.ident is not None:
            self._thread.join()

    def status(self) -> FolderStatus:
        return self._board.read()

    def wait(self, timeout: float | None, until: Callable[[FolderStatus], bool]) -> bool:
        """True as soon as `until` says so of the status, False after `timeout` seconds or when the folder has ended."""
        return self._board.wait(timeout, until)

    def request(self, command: str, **arguments: str) -> dict[str, Any]:
        """See `requests`. NetworkError while the folder has not reached its server yet."""
        if command == "approve" and self.status().phase is Phase.HELD and self._asked is None:
            self._approved = True
            self._inbox.put(_Ask(lambda _: None, Future()))
            return {"approved": self.status().entries}
        asked = self._asked
        if asked is None and command == "approve" and self.status().phase is Phase.FAILED:
            raise UnusableError(
                f"{self.status().last_error}: there is nothing to approve; it goes on once that is mended"
            )
        if asked is None:
            raise NetworkError(f"{self.account.url}: not reached yet: {self.status().last_error or 'connecting'}")
        return answer(asked, command, arguments)

    def _on_control(self, function: Callable[[Engine], Any]) -> Any:
        future: Future[Any] = Future()
        if not self._inbox.put(_Ask(function, future)):
            raise self.failure or NetworkError(f"{self.settings.name}: not syncing any more")
        try:
            return future.result(PATIENCE)
        except TimeoutError as error:
            raise NetworkError(f"{self.settings.name}: busy for more than {PATIENCE:.0f} seconds") from error

    # The control thread.

    def _run(self) -> None:
        self._board.busy(True)
        try:
            self._live()
        except SsyncdError as error:
            self.failure = error
            log.warning("%s: ended: %s", self.settings.path, error)
        except Exception as error:  # top of a thread: the daemon must learn that the folder has ended
            self.failure = SsyncdError(f"{self.settings.path}: a defect in ssyncd: {error!r}")
            log.critical("%s: ended by a defect", self.settings.path, exc_info=error)
        finally:
            self._inbox.close()
            for item in self._inbox.take(0):
                self._refuse(item)
            self._close_disk()
            self._state.close()
            self._board.busy(False)
            self._board.tell(
                replace(self._board.told, phase=Phase.FAILED) if self.failure else self._board.told, ended=True
            )

    def _live(self) -> None:
        extensions, spoiled = None, 0
        while not self._stopping.is_set():
            try:
                if extensions is None and (extensions := self._discover()) is None:
                    return
                if self._disk is None:
                    self._disk = self._reopen()
                if (removed := self._removed(self._disk, extensions)) is not None:
                    self._sync(self._disk, extensions, removed)
            except StateCorruptError as error:
                self._state.begin_anew(error)
                self._board.tell(replace(self._board.told, last_error=str(error)))
                # Should it come to nothing again and again, then not without end all the time.
                self._pause(delay_after(spoiled))
                spoiled += 1
            except BusyError:
                raise
            except (RootError, ShortageError) as error:
                self._close_disk()
                self._hold(error)
                self._pause(ROOT_RETRY)

    def _discover(self) -> Extensions | None:
        """What the server offers. None: we are to stop."""
        server = HttpServer(self.account.url, ca_file=self.settings.ca_file)
        return self._answered(partial(discover, server, self.account.app, self.settings.object_limit), server.close)

    def _removed(self, disk: RealDisk, extensions: Extensions) -> list[Entry] | None:
        """If what we remembered of this folder was lost: what the server's history tells to be removed. None: we are to stop."""
        if not disk.mark() or self._state.database.meta().get("marks") or self._approved:
            return []
        log.warning("%s: nothing is remembered of it with this account: asking what was deleted", self.settings.path)
        history = History(self.account, self.settings.name, self.settings.ca_file, extensions.removed)
        removed = self._answered(history.removed, history.close)
        return None if removed is None else [one.entry for one in removed]

    def _answered(self, ask: Callable[[], T], hang_up: Callable[[], None]) -> T | None:
        """The answer to a question to the server. None: we are to stop."""
        question = Question(ask, self._inbox.put, self._not_answered, hang_up)
        try:
            while not self._stopping.is_set():
                # The answer and the word to stop may come at once.
                if question in self._pause(None) and not self._stopping.is_set():
                    return question.answer
            return None
        finally:
            question.stop()

    def _not_answered(self, error: SsyncdError) -> None:
        self._board.tell(replace(self._board.told, phase=Phase.OFFLINE, last_error=str(error)))

    def _reopen(self) -> RealDisk:
        if is_missing(self.settings.path):
            if not self._approved:
                raise missing(self.settings.path)
            _make_directory(self.settings.path)
        return self._open_disk()

    def _open_disk(self) -> RealDisk:
        return RealDisk(self.settings.path, known=not self._approved and self._state.database.agreed() > 0)

    def _hold(self, error: RootError | ShortageError) -> None:
        """Until it is as it was, or the user says that it is meant to be so; where nobody's word helps, it is a failure."""
        reason = str(error)
        if reason != self._board.told.last_error:
            log.warning("%s: nothing is synced until this is answered or mended", reason)
        status = replace(self._board.told, phase=Phase.FAILED, holds=(), troubles=(), last_error=reason)
        if isinstance(error, UnusableError | ShortageError):
            self._board.tell(replace(status, troubles=(Trouble(".", reason),)))
        else:
            hold = Hold(reason, self._state.database.agreed(), "everywhere")
            self._board.tell(replace(status, phase=Phase.HELD, holds=(hold,)))

    def _pause(self, seconds: float | None) -> list[Any]:
        """What came in, for which there is no use now."""
        items = self._take(seconds)
        for item in items:
            if isinstance(item, _Stop):
                self._stopping.set()
            else:
                self._refuse(item)
        return items

    def _refuse(self, item: Any) -> None:
        if isinstance(item, _Ask):
            item.future.set_exception(NetworkError(f"{self.settings.name}: not syncing now"))

    # Syncing, while folder and server are there.

    def _sync(self, disk: RealDisk, extensions: Extensions, removed: list[Entry]) -> None:
        """Build everything, run, take everything down."""
        record = Record(self._state.database)
        if removed:
            bury(record, removed)
        if self._approved:
            record.set_meta("folder", disk.identity)
        store = RetryingChunks(
            open_store(
                self.account,
                self.settings.name,
                extensions,
                self.settings.ca_file,
                limits(self.settings.upload_limit, self.settings.download_limit),
            ),
            self._stopping.wait,
            random.random,
        )
        transfers = Transfers(disk, store, self.settings.device, self._deliver_all, self.settings.workers)
        connection = WebSocketConnection(self.account.socket, trust=Trust(self.settings.ca_file))
        edge = Edge(disk, connection, transfers, partial(next, _random_keys()), boot=system.boot())
        engine = Engine(self.settings, edge, record, self._init(record, extensions), extensions.window)
        watcher = DiskWatcher(self.settings.path)
        lineage = Lineage(disk, record, edge.random_key, edge.clock)
        try:
            recover(disk, record)
            watcher.start(self._inbox.put_list)
            engine.begin()
            engine.agenda.touch_all(lineage.begin(self._approved))
            if self._approved:
                engine.holds.approve()
                self._approved = False
            connection.start(self._deliver)
            self._asked = Asked(
                self._on_control,
                disk,
                store,
                self.account,
                self.settings.device,
                self.settings.ca_file,
                watcher.catch_up,
                extensions,
            )
            lookout = Lookout(watcher, engine.local, engine.agenda, edge.clock, disk.shared)
            self._loop(engine, lineage, lookout)
        finally:
            self._asked = None
            watcher.stop()
            self._inbox.open_wide()
            connection.stop()
            transfers.stop()
            engine.supply.clear()

    def _init(self, record: Record, extensions: Extensions) -> Init:
        client = record.meta.get("client") or f"ssyncd-{secrets.token_hex(16)}"
        record.set_meta("client", client)
        bucket = bucket_name(self.settings.name)
        init = Init(bucket, self.account.token, self.account.app, client, version=__version__)
        return replace(init, **{name: getattr(extensions, name) for name in ("lean", "notices", "packed", "gaps")})

    def _deliver(self, happening: Any) -> None:
        if isinstance(happening, Received):
            self._inbox.put_bulky(happening)
        else:
            self._inbox.put(happening)

    def _deliver_all(self, results: Sequence[Any]) -> None:
        for result in results:
            self._inbox.put(result)

    def _loop(self, engine: Engine, lineage: Lineage, lookout: Lookout) -> None:
        report = Report(engine, self.account.url)
        wait: float | None = 0.0
        while True:
            answers: list[Callable[[], None]] = []
            try:
                for item in self._take(wait):
                    if isinstance(item, _Stop):
                        engine.commit()
                        return
                    if isinstance(item, _Ask):
                        answers.append(_answer(engine, item))
                    else:
                        engine.handle(item)
                wait = engine.work()
                lineage.go_on()
                wait = lookout.go_on(wait)
                self._board.tell(report.make())
                wait = self._board.pause(report.wait(wait))
                if report.stalls:
                    engine.edge.connection.doubt()
            finally:
                # Not before the status shows what was asked for: whoever waits next would see the one of before.
                for give in answers:
                    give()
            if engine.failure is not None:
                raise engine.failure

    def _take(self, seconds: float | None) -> list[Any]:
        self._board.busy(False)
        try:
            return self._inbox.take(seconds)
        finally:
            self._board.busy(True)

    def _close_disk(self) -> None:
        if self._disk is not None:
            self._disk.close()
            self._disk = None


def _random_keys() -> Iterator[str]:
    """32 hex digits each; the system is asked for many at once, for each call lets other threads run first."""
    while True:
        lot = secrets.token_bytes(16 * 256)
        yield from (lot[at : at + 16].hex() for at in range(0, len(lot), 16))


def _answer(engine: Engine, ask: _Ask) -> Callable[[], None]:
    """Do what is asked; the value gives the answer."""
    try:
        return partial(ask.future.set_result, ask.function(engine))
    except SsyncdError as error:
        return partial(ask.future.set_exception, error)


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableError(f"{path}: cannot be made: {error.strerror}") from error
