"""A plan and a run for people: one line per action, the figures, and a last line that never changes shape.

On a terminal every line fits its width, except a command meant to be copied; piped, nothing is cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from reconciler.cli.render.text import (
    cells,
    code_and_why,
    coloured,
    count,
    elide,
    pad,
    paragraphs,
    printable,
    time_of,
    wrap,
)
from reconciler.core.action import (
    Action,
    AdoptHash,
    ApplyScales,
    Block,
    DropChangedLink,
    Fetch,
    ForgetBlob,
    MarkUnreferenced,
    MoveSlot,
    Operation,
    Promote,
    Quarantine,
    Reclaim,
    RemoveEntry,
    RemoveGeneration,
    RemovePart,
    RemoveSlot,
    Rollback,
    SetRoute,
    StartCandidate,
    StartProcess,
    StopProcess,
    SwitchSlot,
    UnmarkUnreferenced,
    Verify,
    WriteEntry,
)
from reconciler.core.plan import Footing, Plan, SlotStanding
from reconciler.core.quantity import format_size
from reconciler.core.report import Result, ResultStatus, RunReport
from reconciler.core.status import ConditionType
from reconciler.plan.document import PlanCounts, count_actions, redacted_sources
from reconciler.plan.holds import HELD_REASONS, is_hold

NOTHING = "Nothing to do."
NOTHING_BUT = "Nothing to do now, and not everything is ready:"
_SUBJECT_MAX = 40  # leaves half of an 80-column line for figures and reason
_SIZE_WIDTH = 8  # "999.9 MB"
_INDENT = " " * 6
_ACTION_ID = re.compile(r"[a-z-]+:[^\s,;]*[^\s,;:]")  # a colon after it belongs to the sentence
_SLOT_CHANGES = (SwitchSlot, MoveSlot, Promote, Rollback, ApplyScales)  # what a plan counts as a slot
_COMMIT = re.compile(r"(?<=@)[0-9a-f]{40}(?=/)")

_VERBS: Mapping[type[Operation], tuple[str, str]] = {
    Fetch: ("+", "fetch"),
    AdoptHash: ("+", "adopt"),
    Verify: ("~", "verify"),
    DropChangedLink: ("-", "tidy"),
    WriteEntry: ("+", "register"),
    RemoveEntry: ("-", "drop"),
    SwitchSlot: ("~", "switch"),
    StartCandidate: ("+", "start"),
    StartProcess: ("+", "start"),
    Promote: ("~", "promote"),
    Rollback: ("~", "roll back"),
    StopProcess: ("-", "stop"),
    ApplyScales: ("~", "rescale"),
    SetRoute: ("~", "route"),
    MoveSlot: (">", "move"),
    RemoveSlot: ("-", "delete"),
    MarkUnreferenced: ("~", "mark"),
    UnmarkUnreferenced: ("~", "unmark"),
    Quarantine: ("-", "quarantine"),
    Reclaim: ("-", "delete"),
    RemovePart: ("-", "tidy"),
    ForgetBlob: ("-", "tidy"),
    RemoveGeneration: ("-", "tidy"),
}


@dataclass(frozen=True, slots=True)
class Style:
    """How lines are fitted."""

    width: int | None = None
    """Columns; None: as long as they are."""
    colour: bool = False


def render_plan(plan: Plan, style: Style, confirm_command: str) -> list[str]:
    """The whole of `plan`; `confirm_command` is what releases a tripped fuse."""
    if plan.is_empty:
        return _nothing_lines(plan, style)
    # The fuse says it once, below, for all it holds back, and a warning says that the node is suspended.
    said = " ".join([plan.fuse.message if plan.fuse else "", *plan.warnings])
    lines = _action_lines(plan.actions, said, style)
    if plan.fuse:
        lines += _fuse_lines(plan.fuse.message, confirm_command, style)
    return [*lines, "", *_disk_lines(plan, style), plan_line(plan)]


def render_outcome(report: RunReport, style: Style) -> list[str]:
    """What became of a plan that was printed before: everything that is not done, then the totals."""
    if report.plan is None or report.plan.is_empty:
        return []
    actions = {action.id: action for action in report.plan.actions}
    lines = [""]
    said = " ".join(error.message for error in report.errors)  # of a node that is suspended, for all of it
    for result in report.results:
        if result.status in (ResultStatus.FAILED, ResultStatus.WAITING):
            lines += _problem_lines(report, actions, result, style)
        elif _is_withheld(result) and result.message not in said and _is_told_at_the_end(result, actions):
            lines += _withheld_lines(actions, result, style)
    return [*lines, *_unready_slot_lines(report, actions, style), outcome_line(report, actions)]


def unready(plan: Plan) -> list[SlotStanding]:
    """The slots that do not serve what is declared although the plan has nothing to do for them."""
    return [standing for standing in plan.standings if standing.footing is not Footing.READY]


def plan_line(plan: Plan) -> str:
    """The last line of a plan; the first five figures are always there, in this order."""
    counts = count_actions(plan)
    size = f" ({format_size(plan.fetch.bytes)})" if plan.fetch.count else ""
    if plan.fetch.unknown:
        size = f" ({format_size(plan.fetch.bytes)} + {plan.fetch.unknown} unknown)"
    figures = [
        f"{plan.fetch.count} to fetch{size}",
        count(counts.entries, "entry", "entries"),
        count(counts.slot_switches, "slot"),
        f"{counts.deletes} to delete",
        f"{counts.blocked} blocked",
    ]
    return "Plan: " + ", ".join(figures + _further(counts))


def _further(counts: PlanCounts) -> list[str]:
    rehashes = [f"{counts.rehashes} to re-hash"] if counts.rehashes else []
    starts = [f"{count(counts.restarts, 'process', 'processes')} to start"] if counts.restarts else []
    waiting = [f"{counts.waiting} waiting"] if counts.waiting else []
    return waiting + rehashes + starts + ([f"{counts.housekeeping} housekeeping"] if counts.housekeeping else [])


def outcome_line(report: RunReport, actions: Mapping[str, Action]) -> str:
    """The last line of a run."""
    ended = {status: [r for r in report.results if r.status is status] for status in ResultStatus}
    results = [(result, actions[result.id]) for result in ended[ResultStatus.DONE] if result.id in actions]
    done = [action for _, action in results]
    fetched = [(result, action) for result, action in results if isinstance(action.operation, Fetch)]
    sizes = (action.size_bytes if result.size_bytes is None else result.size_bytes for result, action in fetched)
    size_bytes = sum(size or 0 for size in sizes)
    figures = [
        f"{len(fetched)} fetched" + (f" ({format_size(size_bytes)})" if size_bytes else ""),
        count(sum(isinstance(a.operation, WriteEntry | RemoveEntry) for a in done), "entry", "entries"),
        count(sum(isinstance(a.operation, _SLOT_CHANGES) for a in done), "slot"),
        f"{sum(action.destructive for action in done)} deleted",
        f"{len(ended[ResultStatus.FAILED])} failed",
    ]
    started = sum(isinstance(action.operation, StartCandidate | StartProcess) for action in done)
    figures += [f"{count(started, 'process', 'processes')} started"] if started else []
    undone = {result.id for result in report.results if result.status is not ResultStatus.DONE}
    waiting = sum(not _follows(actions.get(result.id), undone) for result in ended[ResultStatus.WAITING])
    blocked = sum(map(_is_withheld, report.results))
    figures += ([f"{waiting} waiting"] if waiting else []) + ([f"{blocked} blocked"] if blocked else [])
    return "Done: " + ", ".join(figures)


def _follows(action: Action | None, undone: set[str]) -> bool:
    """Whether it waits for nothing but other actions, which are counted themselves."""
    return action is not None and not undone.isdisjoint(action.depends_on)


def subject(action: Action) -> str:
    """What an action is about, as people call it."""
    if action.kind in ("blob", "generation"):
        short = f"{action.kind} {action.name[:12]}"
        more = f" +{len(action.owners) - 1}" if len(action.owners) > 1 else ""
        return printable(action.owners[0] + more if action.owners else short)
    return printable(f"{action.kind}s/{action.name}")


def verb(operation: Operation) -> tuple[str, str]:
    """(sign, word) of an operation."""
    if isinstance(operation, WriteEntry) and operation.renamed_from:
        return ">", "rename"
    return _VERBS[type(operation)]


def explanation(action: Action, *, short: bool = False) -> str:
    """Why an action is planned, when it may begin, and where a fetch gets its bytes; `short` cuts commits."""
    sources = redacted_sources(action)
    text = f"{action.message}; {action.waits.message}" if action.waits else action.message
    if sources:
        others = len(sources) - 1
        source = _COMMIT.sub(lambda found: found.group()[:8] + "…", sources[0]) if short else sources[0]
        text += f", from {source}" + (f" (or {count(others, 'other source')})" if others else "")
    return printable(text)


def in_words(message: str, actions: Mapping[str, Action]) -> str:
    """`message` with actions called what people call them."""
    return _ACTION_ID.sub(lambda found: _name(actions.get(found.group()), found.group()), message)


def why_blocked(action: Action, block: Block) -> str:
    """Why `block` withholds the action; what an operator said names its reason itself."""
    if is_hold(block):
        return _with_hint(block.message, block.hint)
    sources = redacted_sources(action)
    # The line above names the only source there is.
    message = block.message.removeprefix(f"{sources[0]}: ") if len(sources) == 1 else block.message
    return f"blocked: {block.reason}: {message}"


def _action_lines(actions: tuple[Action, ...], said: str, style: Style) -> list[str]:
    subjects = [subject(action) for action in actions]
    widest = max((cells(text) for text in subjects), default=0)
    column = widest if style.width is None else min(widest, _SUBJECT_MAX, max(12, style.width - 36))
    return [
        line
        for action, text in zip(actions, subjects, strict=True)
        for line in _action_line(action, pad(elide(text, column), column), said, style)
    ]


def _action_line(action: Action, column: str, said: str, style: Style) -> Iterator[str]:
    sign, word = verb(action.operation)
    sign = "!" if action.blocked else sign
    head = f"  {sign} {word:<10} {column} {pad(_size(action), _SIZE_WIDTH, right=True)}"
    why = explanation(action, short=style.width is not None)
    if style.width is None or cells(head) + 2 + cells(why) <= style.width:
        yield coloured(f"{head}  {why}", sign, colour=style.colour)
    else:
        yield coloured(head.rstrip(), sign, colour=style.colour)
        yield from wrap(why, style.width, _INDENT)
    if action.blocked and action.blocked.message not in said:
        yield from wrap(printable(why_blocked(action, action.blocked)), style.width, _INDENT)


def _size(action: Action) -> str:
    if action.size_bytes is None:
        return "unknown"
    return format_size(action.size_bytes) if action.size_bytes else ""


def _fuse_lines(message: str, confirm_command: str, style: Style) -> list[str]:
    # The command is never wrapped: it is there to be copied.
    return [
        "",
        *(
            coloured(line, "!", colour=style.colour)
            for line in wrap(f"Pruning is blocked: {printable(message)}", style.width, "")
        ),
        *wrap("If exactly these deletions are wanted, run", style.width, ""),
        f"  {confirm_command}",
    ]


def _disk_lines(plan: Plan, style: Style) -> list[str]:
    unknown = f" and {plan.fetch.unknown} of unknown size" if plan.fetch.unknown else ""
    freed = f", {format_size(plan.delete_bytes)} freed" if plan.delete_bytes else ""
    after = f"{format_size(plan.free_after_bytes)} free after" if plan.free_after_bytes >= 0 else "too little free"
    text = f"Disk: {format_size(plan.peak_disk_bytes)}{unknown} more at the peak{freed}, {after}"
    return wrap(f"{text} ({format_size(plan.free_bytes)} now)", style.width, "")


def _name(action: Action | None, id_: str) -> str:
    return f"{verb(action.operation)[1]} {subject(action)}" if action else id_


def _nothing_lines(plan: Plan, style: Style) -> list[str]:
    found = unready(plan)
    lines = [line for slot in found for line in _standing_lines(slot, style)]
    return [NOTHING_BUT, *lines] if found else [NOTHING]


def _standing_lines(slot: SlotStanding, style: Style) -> list[str]:
    sign = "!" if slot.footing is Footing.STALLED else "~"
    return _noted(sign, f"slots/{slot.slot} ({slot.reason}): {slot.message}{_then(slot.next_attempt_at)}", style)


def _unready_slot_lines(report: RunReport, actions: Mapping[str, Action], style: Style) -> list[str]:
    """The slots that are not ready for a reason that lies before this run."""
    told = {subject(actions[result.id]) for result in report.results if result.id in actions and _is_open(result)}
    found = [
        c
        for c in report.conditions
        if c.object.startswith("slots/") and c.object not in told and c.type is ConditionType.READY and not c.status
    ]
    texts = [f"not ready {c.object} ({c.reason}): {c.message}{_then(c.next_attempt_at)}" for c in found]
    return [line for text in texts for line in _noted("!", text, style)]


def _is_open(result: Result) -> bool:
    return result.status is not ResultStatus.DONE


def _then(at: datetime | None) -> str:
    return f"; next try {time_of(at)}" if at else ""


def _noted(sign: str, text: str, style: Style) -> list[str]:
    lines = paragraphs(text, style.width, "    ")
    return [coloured(f"  {sign} {lines[0][4:]}", sign, colour=style.colour), *lines[1:]]


def _problem_lines(report: RunReport, actions: Mapping[str, Action], result: Result, style: Style) -> list[str]:
    action = actions.get(result.id)
    sign = "!" if result.status is ResultStatus.FAILED else "~"
    # What a later pass of the run added is known by its id alone.
    what = _name(action, result.id)
    code, why = code_and_why(result.message, result.code)
    when = _when_next(report, action) if action else ""
    message = in_words(why, actions) or "no reason"
    return _noted(sign, f"{result.status} {what}{f' ({code})' if code else ''}: {message}{when}", style)


def _is_withheld(result: Result) -> bool:
    """Whether it is withheld itself: what only needs something withheld has no reason of its own, in plans neither."""
    return result.status is ResultStatus.BLOCKED and bool(result.reason)


def _is_told_at_the_end(result: Result, actions: Mapping[str, Action]) -> bool:
    """Whether it is an operator's own decision, which is all there is to say of the exit code, or news to the plan."""
    action = actions.get(result.id)
    return result.reason in HELD_REASONS or action is None or action.blocked is None


def _withheld_lines(actions: Mapping[str, Action], result: Result, style: Style) -> list[str]:
    word, sign = (result.reason.lower(), "~") if result.reason in HELD_REASONS else ("blocked", "!")
    what = _name(actions.get(result.id), result.id)
    message = result.message.removeprefix(f"{word} ")  # who, when and why; the line begins with what was done
    return _noted(sign, f"{word} {what}: {_with_hint(message, result.hint)}", style)


def _with_hint(message: str, hint: str | None) -> str:
    return f"{message}; {hint}" if hint else message


def _when_next(report: RunReport, action: Action) -> str:
    """When it is tried again: our own back-off ends with this run, what origins asked for does not."""
    mine = [c for c in report.conditions if c.object in action.owners and c.next_attempt_at]
    if any(c.type is ConditionType.FETCH_FAILED for c in mine):
        return "; the next run tries again"
    return _then(min((c.next_attempt_at for c in mine if c.next_attempt_at), default=None))
