"""Slot records: what a stable name points at, pointed at before, and is about to point at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from reconciler.core.desired import Runtime
from reconciler.core.digest import Digest, digest_of_json
from reconciler.core.entry import FileSet


@dataclass(frozen=True, slots=True)
class AdapterTarget:
    """An adapter as a launch is given it."""

    name: str
    files: FileSet
    path: str
    """The file in its generation that the runtime is given."""
    scale: float


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything a process is started with, except the port and secrets, which are found when it starts."""

    runtime: Runtime
    model_path: str
    """The file in the model's generation that `{model}` stands for: the first shard of a split model."""
    mmproj_path: str | None = None
    """The file that `{mmproj}` stands for; None if the model has none."""
    adapters: tuple[AdapterTarget, ...] = ()

    @property
    def scales(self) -> tuple[float, ...]:
        """One per adapter, in order: what can be changed without a restart."""
        return tuple(adapter.scale for adapter in self.adapters)


@dataclass(frozen=True, slots=True)
class SlotTarget:
    """A model as a slot serves it."""

    model: str
    files: FileSet
    launch: Launch | None = None
    """None for a slot that is files only."""

    @property
    def id(self) -> Digest:
        """What is served: the generation, or the launch hash.

        A launch hash covers what only a restart can change: files, adapters, command and environment
        (references to secrets, never secrets). It leaves out scales, health checks and the stable port.
        """
        launch = self.launch
        if launch is None:
            return self.files.id
        adapters = [[adapter.files.id, adapter.path] for adapter in launch.adapters]
        paths = [self.files.id, launch.model_path, launch.mmproj_path]
        return digest_of_json([paths, adapters, list(launch.runtime.command), [list(e) for e in launch.runtime.env]])

    def file_sets(self) -> Iterator[FileSet]:
        """The model's generation, then those of its adapters."""
        yield self.files
        for adapter in self.launch.adapters if self.launch is not None else ():
            yield adapter.files


@dataclass(frozen=True, slots=True)
class LaunchFailure:
    """Why launches of a target ended badly, and when the next one is tried."""

    target_id: Digest
    reason: str
    """CamelCase: HealthTimeout, Crashed, CannotStart."""
    message: str
    """What happened, with the tail of the log."""
    attempts: int
    """Failed launches in a row."""
    at: datetime
    next_attempt_at: datetime | None
    """None: not before the declaration changes or `reconcile load` is given."""


@dataclass(frozen=True, slots=True)
class SlotRecord:
    """The durable record of a slot; all three targets are roots of garbage collection."""

    name: str
    current: SlotTarget | None = None
    candidate: SlotTarget | None = None
    last_good: SlotTarget | None = None
    """What promotion replaced: the rollback target, kept until the next promotion or removal."""
    candidate_deadline: datetime | None = None
    failure: LaunchFailure | None = None
    """The last launch that failed; None once a launch of the same target was promoted or stayed healthy."""

    def targets(self) -> Iterator[SlotTarget]:
        """The targets that are set."""
        for target in (self.current, self.candidate, self.last_good):
            if target is not None:
                yield target

    def file_sets(self) -> Iterator[FileSet]:
        """The generations of all targets that are set."""
        for target in self.targets():
            yield from target.file_sets()

    def promoted(self, target: SlotTarget) -> SlotRecord:
        """The record after `target` became current; what it replaced becomes `last_good`.

        Promoting what is already current changes nothing, so the step may run twice.
        """
        if self.current is not None and self.current.id == target.id:
            return SlotRecord(self.name, target, None, self.last_good)
        return SlotRecord(self.name, target, None, self.current or self.last_good)

    def rolled_back(self, failure: LaunchFailure) -> SlotRecord:
        """The record after its candidate was given up because of `failure`."""
        return replace(self, candidate=None, candidate_deadline=None, failure=failure)
