"""What `serve` is asked and whom it tells. Apart from what runs it, which brings a web server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from reconciler.settings import Settings


class Service(Protocol):
    """Who started the service and wants to know how it fares: the terminal and the service manager."""

    def listening(self, url: str, source: str) -> None:
        """The state API answers at `url`; desired state comes from `source`."""
        ...

    def ready(self) -> None:
        """The first pass is over, or a reload."""
        ...

    def reloading(self) -> None:
        """Settings are read again."""
        ...

    def stopping(self) -> None:
        """The service ends."""
        ...

    def alive(self) -> None:
        """The loop is well; called often."""
        ...

    def settle(self, settings: Settings) -> None:
        """Settings were read again; what concerns the log holds."""
        ...


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What one call of `reconcile serve` was asked to do."""

    paths: tuple[str, ...]
    """Watched folders and files; not used when the settings name a repository."""
    read_settings: Callable[[], Settings]
    """The settings as they are now. Raises InvalidSettingError."""
