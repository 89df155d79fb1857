"""What an operator can set, as one value."""

from pathlib import Path

from msgspec import Struct

DAY = 24 * 3600


class ServerSettings(Struct, frozen=True):
    """Sizes are bytes, times are seconds. `data` is the directory of the embedded database and chunk store.

    `database` and `chunks` are URLs of other stores; None means the embedded ones in `data`. `plain` leaves out every extension,
    so that the server is a bare Simperium server. `storage_quota` bounds what one account stores, in bytes; 0 is no bound.
    What was replaced or deleted `history_days` ago is forgotten; 0: nothing is.
    """

    data: Path
    listen: str = "127.0.0.1:8730"
    database: str | None = None
    chunks: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    open_accounts: bool = False
    plain: bool = False
    object_limit: int = 512 * 1024
    chunk_limit: int = 8 * 1024 * 1024
    request_limit: int = 32 * 1024 * 1024
    message_limit: int = 8 * 1024 * 1024
    version_max: int = 60
    version10_max: int = 100
    history_days: int = 0
    log_kept: int = 30 * DAY
    chunk_grace: int = 7 * DAY
    storage_quota: int = 0
    sign_ins_per_minute: int = 20
    silence: float = 60.0
    housekeeping: float = 30.0

    @property
    def window(self) -> int:
        """Changes a client may have in flight."""
        return 100 if self.plain else 1000
