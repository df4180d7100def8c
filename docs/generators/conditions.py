"""The page of conditions and reasons: from core's enums and errors, and from the texts in the source."""

from __future__ import annotations

import inspect

from generators.markdown import code, document, table
from generators.source import reasons

from reconciler.core import errors
from reconciler.core.status import ConditionType

MEANING = {
    ConditionType.READY: "the object is as declared",
    ConditionType.RECONCILING: "work on it is under way or due by itself",
    ConditionType.STALLED: "a person must change something before another try can help",
    ConditionType.FETCH_FAILED: "its bytes could not be fetched; says whether and when it is tried again",
    ConditionType.PRUNE_BLOCKED: "deletions are withheld by the prune fuse",
    ConditionType.STORE_MISSING: "the blob store is not there, or another one is",
    ConditionType.SUPERSEDED: "an earlier layer declares the same object, so this declaration has no effect",
}


def page() -> str:
    """The whole page."""
    return document(
        "Conditions and reasons",
        "A condition belongs to an object such as `models/qwen`, or to `node`. `Ready` is good when true; all others "
        "are bad when true and absent when false. See [conditions](../concepts/conditions.md).",
        "## Conditions",
        table(("type", "when true"), ((code(kind), MEANING[kind]) for kind in ConditionType)),
        "## Kinds of error",
        table(("kind", "default reason", "meaning"), (_error(kind) for kind in _errors())),
        "## Reasons",
        "Reasons of conditions, actions, errors and withheld actions, and the modules of `reconciler` that give them.",
        table(("reason", "given by"), ((code(r), ", ".join(sorted(by))) for r, by in sorted(reasons().items()))),
    )


def _errors() -> list[type[errors.ReconcilerError]]:
    found = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    return sorted((k for k in found if issubclass(k, errors.ReconcilerError)), key=lambda kind: len(kind.__mro__))


def _error(kind: type[errors.ReconcilerError]) -> tuple[str, str, str]:
    first = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0]
    return code(kind.__name__), code(kind.default_reason), first
