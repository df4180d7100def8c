"""The page of settings: from the settings class."""

from __future__ import annotations

from pathlib import Path

from generators.markdown import code, document, table
from generators.source import member_docs
from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from reconciler.settings import Settings

DEFAULTS = {
    "state_dir": "`$XDG_STATE_HOME/reconciler`, else `~/.local/state/reconciler`",
    "store_dir": "`<state_dir>/store`",
}


def page() -> str:
    """The whole page."""
    docs = member_docs(Settings)
    rows = ((_variables(name, field), _default(name, field), docs[name]) for name, field in _fields())
    return document(
        "Settings",
        "Settings belong to a node, not to the manifests. An option of the command line wins over its variable, which "
        "wins over the default. Nothing else is read from the environment; proxies are ignored.",
        table(("variable", "default", "meaning"), rows),
    )


def _fields() -> list[tuple[str, FieldInfo]]:
    return list(Settings.model_fields.items())


def _variables(name: str, field: FieldInfo) -> str:
    match field.validation_alias:
        case str(alias):
            names = [alias]
        case AliasChoices(choices=choices):
            names = [str(choice) for choice in choices]
        case _:
            names = ["RECONCILER_" + name.upper()]
    return ", else ".join(code(each) for each in names)


def _default(name: str, field: FieldInfo) -> str:
    if name in DEFAULTS:
        return DEFAULTS[name]
    assert field.default is not PydanticUndefined, f"say in {Path(__file__).name} what the default of {name} is"
    match field.default:
        case None | ():
            return "none"
        case bool(value):
            return code(str(value).lower())
        case value:
            return code(value)
