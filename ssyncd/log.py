"""Where log lines go: standard error, as journald likes them under systemd, or a file of bounded size."""

import logging
import logging.handlers
import os
from pathlib import Path

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_NAME = "ssyncd"
_FILE_BYTES = 1024 * 1024


class _JournalFormatter(logging.Formatter):
    """sd-daemon(3): the priority in front; the journal knows the time by itself."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return f"<{_PRIORITY.get(record.levelno, 6)}>" + text.replace("\n", " | ")


def set_up(level: str, file: Path | None = None, handler: logging.Handler | None = None) -> None:
    """Send everything of at least this level to one place, instead of the one set up before."""
    if handler is None:
        handler = _to_file(file) if file else _to_stderr()
    tear_down()
    handler.set_name(_NAME)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper())
    for chatty in ("urllib3", "websocket", "watchdog", "asyncio", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    # It warns, with a traceback, of headers that a broken connection cut off; we say that ourselves.
    logging.getLogger("urllib3.connection").setLevel(max(logging.ERROR, root.level))


def tear_down() -> None:
    """Log nowhere any more."""
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if handler.get_name() == _NAME]:
        root.removeHandler(old)
        old.close()


def _to_file(file: Path) -> logging.Handler:
    handler = logging.handlers.RotatingFileHandler(file, maxBytes=_FILE_BYTES, backupCount=2, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    return handler


def _to_stderr() -> logging.Handler:
    handler = logging.StreamHandler()
    under_systemd = bool(os.environ.get("JOURNAL_STREAM"))
    handler.setFormatter(
        _JournalFormatter("%(message)s") if under_systemd else logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")
    )
    return handler
