"""Small stories: a machine that is as `before.yaml` says, something that happens, and the plan for `after.yaml`.

`RECONCILER_UPDATE_SCENARIOS=1 pytest tests/scenarios` writes every `plan.txt` anew; read the diff.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from reconciler.core.action import Action
from reconciler.core.desired import DesiredState
from reconciler.core.digest import is_digest
from reconciler.core.observed import ObservedState, StoreStatus
from reconciler.core.plan import Plan, PlanPolicy
from reconciler.core.quantity import format_size
from reconciler.manifest.load import load
from reconciler.manifest.tree import Layer, ManifestFile
from reconciler.plan.planner import make_plan
from tests.builders import NOW, observed
from tests.fakes.world import World, run_pass

HERE = Path(__file__).parent
UPDATE = "RECONCILER_UPDATE_SCENARIOS"
FOLDER = "/srv/manifests"
POLICY = PlanPolicy(runtimes=("llama-server",))


@dataclass(frozen=True)
class Twist:
    """What happens between the two manifests, and how the second one is planned."""

    paths: str = FOLDER
    free_bytes: int = 100 * 10**9
    hours: float = 0
    happens: Callable[[ObservedState], ObservedState] = lambda seen: seen
    after_is_applied: bool = False
    """Whether the second manifest was carried out once before the time passed."""


def _registry_lost(seen: ObservedState) -> ObservedState:
    blobs = {digest: replace(blob, row=None) for digest, blob in seen.blobs.items()}
    return replace(seen, blobs=blobs, entries={}, generations={}, node=replace(seen.node, paths=None))


TWISTS = {
    "other-paths": Twist(paths="/home/me/manifests"),
    "nothing-may-start": Twist(),
    "registry-lost": Twist(happens=_registry_lost),
    "time-has-passed": Twist(hours=25, after_is_applied=True),
}
SCENARIOS = sorted(path.name for path in HERE.iterdir() if path.is_dir() and not path.name.startswith("_"))


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_plan_of_a_story_is_as_written(name: str) -> None:
    golden = HERE / name / "plan.txt"
    text = render(_story(HERE / name, TWISTS.get(name, Twist())))
    if os.environ.get(UPDATE):
        golden.write_text(text)

    assert text == golden.read_text()


def _story(folder: Path, twist: Twist) -> Plan:
    before = _manifest(folder / "before.yaml", FOLDER)
    after = _manifest(folder / "after.yaml", twist.paths)
    world = _converged(before, World(observed(store=StoreStatus.FRESH, paths=None)), NOW)
    world = replace(world, observed=twist.happens(world.observed))
    if twist.after_is_applied:
        world = _converged(after, world, NOW)
    seen = replace(world.observed, node=replace(world.observed.node, free_bytes=twist.free_bytes))
    return make_plan(after, seen, POLICY, NOW + timedelta(hours=twist.hours))


def _manifest(path: Path, root: str) -> DesiredState:
    files = (ManifestFile(path.name, root, root, path.read_bytes()),) if path.exists() else ()
    loaded = load((Layer("paths", files),), paths=(root,))
    assert loaded.errors == ()
    assert loaded.desired is not None
    return loaded.desired


def _converged(wanted: DesiredState, world: World, now: datetime) -> World:
    for _ in range(5):
        world = run_pass(world, make_plan(wanted, world.observed, POLICY, now), wanted, now)
    return world


# ---- as text -----------------------------------------------------------------------------------


def render(plan: Plan) -> str:
    """One line per action: its number, what it is, why, and the numbers of those it needs."""
    numbers = {action.id: number for number, action in enumerate(plan.actions, 1)}
    lines = [_line(action, numbers) for action in plan.actions] or ["nothing to do"]
    unknown = f" and {plan.fetch.unknown} of unknown size" if plan.fetch.unknown else ""
    lines.append("")
    lines.append(f"fetch {plan.fetch.count}, {format_size(plan.fetch.bytes)}{unknown}")
    lines.append(f"delete {format_size(plan.delete_bytes)}")
    if plan.fuse is not None:
        lines.append(f"withheld: {plan.fuse.reason}: {plan.fuse.message}")
    if plan.wake_at is not None:
        lines.append(f"wake in {plan.wake_at - NOW}")
    return "\n".join(lines) + "\n"


def _line(action: Action, numbers: dict[str, int]) -> str:
    name = action.name[:8] if is_digest(action.name) else action.name
    needs = "".join(f" <{numbers[need]}" for need in action.depends_on)
    blocked = f"  BLOCKED {action.blocked.reason}" if action.blocked else ""
    waits = f"  WAITS {action.waits.reason}: {action.waits.message}" if action.waits else ""
    return f"{numbers[action.id]:2} {action.op} {action.kind} {name} {action.reason}{needs}{blocked}{waits}"
