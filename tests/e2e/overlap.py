"""How many requests are under way at the same moment, as the origins see it."""

from __future__ import annotations

import threading

from tests.fakes.origin import OriginSimulator


class Watch:
    """How many requests were unanswered at the same moment, together and at one origin."""

    def __init__(self, *origins: OriginSimulator) -> None:
        self._origins = origins
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.most_together = self.most_per_host = 0

    def _look(self) -> None:
        while not self._over.wait(0.01):
            counts = [sum(seen.status == 0 for seen in list(origin.requests)) for origin in self._origins]
            self.most_together = max(self.most_together, sum(counts))
            self.most_per_host = max(self.most_per_host, *counts)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
