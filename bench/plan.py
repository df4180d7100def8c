"""How long planning 10,000 models takes, next to ruamel's C safe loader on the text that declares them.

Run as `python bench/plan.py`. Both sides run in turn in one process; each ratio is the median of
the paired ratios, so that a machine that is busy for a while does not decide it.
"""

from __future__ import annotations

import argparse
import statistics
from datetime import UTC, datetime, timedelta

from manifest import layers_of, manifest_text, seconds
from ruamel.yaml import YAML

from reconciler.core.desired import DesiredState
from reconciler.core.entry import Entry, entry_spec, file_set
from reconciler.core.observed import (
    BlobObserved,
    BlobRow,
    EntryObserved,
    NodeFacts,
    ObservedState,
    Place,
    StoreStatus,
)
from reconciler.core.plan import PlanPolicy
from reconciler.manifest.load import load
from reconciler.plan.planner import make_plan

TARGET_FROM_SCRATCH = 0.5
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
FREE_BYTES = 10**15


def desired_state(text: bytes) -> DesiredState:
    """What the text declares."""
    loaded = load(layers_of(text), paths=("/bench",))
    assert loaded.desired is not None
    return loaded.desired


def fresh() -> ObservedState:
    """A machine that holds nothing."""
    return ObservedState(NodeFacts(StoreStatus.FRESH, free_bytes=FREE_BYTES, total_bytes=FREE_BYTES))


def converged(desired: DesiredState) -> ObservedState:
    """A machine that holds everything declared."""
    since = NOW - timedelta(days=30)
    blobs, entries, generations = {}, {}, {}
    for weights in desired.weights():
        spec = entry_spec(weights)
        files = file_set(spec.files)
        generations[files.id] = files
        entries[spec.ref] = EntryObserved(Entry(spec, files.id, (), since), files.id, True, True)
        for file in weights.files:
            row = BlobRow(file.digest, since, file.size_bytes, since)
            blobs[file.digest] = BlobObserved(file.digest, row, Place.BY_HASH, file.size_bytes)
    node = NodeFacts(StoreStatus.READY, free_bytes=FREE_BYTES, total_bytes=FREE_BYTES, paths=desired.provenance.paths)
    return ObservedState(node, blobs, entries, generations=generations)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--models", type=int, default=10_000)
    options.add_argument("--runs", type=int, default=7)
    options.add_argument("--seed", type=int, default=7)
    chosen = options.parse_args()
    text = manifest_text(chosen.models, chosen.seed)
    desired = desired_state(text)
    empty, full, policy = fresh(), converged(desired), PlanPolicy()
    assert len(make_plan(desired, empty, policy, NOW).actions) == 2 * chosen.models
    assert make_plan(desired, full, policy, NOW).is_empty
    peers, scratch, noop = [], [], []
    for _ in range(chosen.runs):
        peers.append(seconds(lambda: YAML(typ="safe").load(text)))
        scratch.append(seconds(lambda: make_plan(desired, empty, policy, NOW)))
        noop.append(seconds(lambda: make_plan(desired, full, policy, NOW)))
    lines = text.count(b"\n")
    print(f"{chosen.models} models, {lines} lines, {chosen.runs} runs, medians")
    print(f"ruamel C safe loader   {statistics.median(peers) * 1000:8.1f} ms")
    for name, own, target in (
        ("plan from scratch", scratch, f"(target {TARGET_FROM_SCRATCH})"),
        ("plan, nothing to do", noop, ""),
    ):
        ratio = statistics.median(mine / theirs for mine, theirs in zip(own, peers, strict=True))
        print(f"{name:22} {statistics.median(own) * 1000:8.1f} ms  ratio {ratio:.3f}  {target}")


if __name__ == "__main__":
    main()
