"""The orders' database: SQLite in a file, and the job that gets in its way."""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

BUSY_SECONDS: Final = 0.03
"""How long a transaction waits for the database's lock before it is given up."""

STOCK_TAKING_EVERY: Final = 0.7
STOCK_TAKING_SECONDS: Final = 0.12
"""How often stock is taken, and how long it holds the lock each time."""

_SCHEMA: Final = """
CREATE TABLE orders (id TEXT PRIMARY KEY, item TEXT NOT NULL, status TEXT NOT NULL, former TEXT);
CREATE TABLE history (order_id TEXT NOT NULL REFERENCES orders, status TEXT NOT NULL, former TEXT);
CREATE TABLE stock_takings (taken_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, orders INTEGER NOT NULL);
"""


class OrderStore:
    """Orders in SQLite; for many threads at once, each transaction on a connection of its own.

    Parameters:
        path: the file; it is created.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        connection = self._connect()
        connection.execute("PRAGMA journal_mode = WAL")  # readers and one writer at a time
        connection.executescript(_SCHEMA)
        self._idle.put(connection)

    @contextmanager
    def transaction(self, mode: str = "DEFERRED") -> Generator[sqlite3.Connection]:
        """A transaction: committed at the end of the block, rolled back if it raises.

        Raises:
            sqlite3.OperationalError: the database is locked by somebody else.
        """
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = self._connect()
        try:
            connection.execute(f"BEGIN {mode}")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        finally:
            self._idle.put(connection)

    def save(self, order: str, item: str, status: str) -> None:
        """Write an order's status, and what it was before, in one transaction."""
        with self.transaction() as connection:
            # Writes first: a transaction that has read before would lose to every other writer in between.
            connection.execute(
                "INSERT INTO orders (id, item, status) VALUES (?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET former = status, status = excluded.status",
                (order, item, status),
            )
            connection.execute("INSERT INTO history SELECT id, status, former FROM orders WHERE id = ?", (order,))

    def statuses(self) -> dict[str, int]:
        """How many orders there are of each status."""
        with self.transaction() as connection:
            return dict(connection.execute("SELECT status, count(*) FROM orders GROUP BY status"))

    def close(self) -> None:
        """Close every connection; no transaction may be under way."""
        with suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    def _connect(self) -> sqlite3.Connection:
        # Connections pass from thread to thread, but are never used by two at once.
        connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = OFF")  # the file does not outlive the demonstration
        return connection


class StockTaking:
    """Another job on the same database, which holds its lock longer than an order waits.

    Parameters:
        path: the database.
        is_due: whether stock is taken now.
    """

    def __init__(self, path: Path, is_due: Callable[[], bool]) -> None:
        self._path = path
        self._is_due = is_due
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="stock-taking", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the job."""
        self._stopping.set()
        self._thread.join()

    def _work(self) -> None:
        with closing(sqlite3.connect(self._path, timeout=1.0, isolation_level=None)) as connection:
            while not self._stopping.wait(STOCK_TAKING_EVERY):
                if self._is_due():
                    with suppress(sqlite3.OperationalError):
                        self._take(connection)

    def _take(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO stock_takings (orders) SELECT count(*) FROM orders")
        self._stopping.wait(STOCK_TAKING_SECONDS)
        connection.execute("COMMIT")
