"""What refers to something else by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches

from reconciler.manifest.fields import BASE
from reconciler.manifest.layers import Hidden
from reconciler.manifest.nodes import ScalarNode
from reconciler.manifest.problems import Problems, Reason, shown
from reconciler.manifest.shapes import Field, Found


def check_bases(adapters: Mapping[str, Found], models: Collection[str], hidden: Hidden, problems: Problems) -> None:
    """Every adapter is for a declared model, or that is reported."""
    for adapter in adapters.values():
        check_declared(adapter, BASE, "model", models, hidden, problems)


def check_declared(
    found: Found,
    field: Field[ScalarNode],
    what: str,
    names: Collection[str],
    hidden: Hidden,
    problems: Problems,
) -> None:
    """What `field` names is declared, or that is reported."""
    named = found.get(field)
    if named is None or named.text in names or hidden.may_declare(named.text):
        return
    near = get_close_matches(named.text, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else None
    message = f"wanted the name of a declared {what}, got {shown(named.text)}"
    problems.add(found.origin.below(field.name), named, Reason.DANGLING_REFERENCE, message, hint)
