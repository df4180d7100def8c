"""One fsync for many: whoever waits while one runs is served by the next, together with all others."""

from __future__ import annotations

import threading

from reconciler import durable


class SharedSync:
    """Makes the names in some folders durable, for any number of threads at once."""

    def __init__(self, *folders: str) -> None:
        self._folders = folders
        self._lock = threading.Condition(threading.Lock())
        self._begun = 0
        self._done = 0
        """The last one that ended well."""
        self._runs = False

    def sync(self) -> None:
        """Every name that stood in the folders before the call is durable. Raises TransientError."""
        with self._lock:
            needed = self._begun + 1  # one that runs already may have missed our name
            while self._done < needed:
                if self._runs:
                    self._lock.wait()
                else:
                    self._run()

    def _run(self) -> None:
        """Lets go of the lock meanwhile; after an error each of those who wait tries for itself."""
        self._runs = True
        self._begun += 1
        mine = self._begun
        self._lock.release()
        try:
            for folder in self._folders:
                durable.sync_folder(folder)
        except BaseException:
            mine = 0
            raise
        finally:
            self._lock.acquire()
            self._runs = False
            self._done = max(self._done, mine)
            self._lock.notify_all()
