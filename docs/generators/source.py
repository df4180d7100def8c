"""What the source text says that running code does not: docstrings under members, and where reasons are given."""

from __future__ import annotations

import ast
import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import reconciler

PACKAGE = Path(reconciler.__file__).parent
_CAMEL = re.compile(r"(?:[A-Z][a-z0-9]+){2,}").fullmatch
_WORD = re.compile(r"(?:[A-Z][a-z0-9]+)+").fullmatch


def member_docs(owner: type) -> Mapping[str, str]:
    """The docstring under each member or field of a class, by name; only those that have one."""
    (definition,) = ast.parse(inspect.getsource(owner)).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for target, after in zip(definition.body, definition.body[1:], strict=False):
        match target, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = inspect.cleandoc(text)
    return found


def reasons() -> Mapping[str, set[str]]:
    """Every CamelCase reason that the package gives, and the modules that give it."""
    trees = {_module(path): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
    del trees["core.status"]  # its texts are types of conditions
    found: dict[str, set[str]] = defaultdict(set)
    for module, tree in trees.items():
        types = _types_in(tree)  # their names can be texts where one of them is annotated before it is defined
        # In the plan, which words everything as data, a capitalised word of its own is always a reason.
        for reason in _reasons_in(tree, _WORD if module.startswith("plan.") else _CAMEL):
            if reason not in types:
                found[reason].add(module)
    return found


def _types_in(tree: ast.AST) -> set[str]:
    """The names that classes and imports of a module give."""
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return found.union(alias.asname or alias.name for node in imports for alias in node.names)


def _module(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def _reasons_in(node: ast.AST, looks_like_one: Callable[[str], object]) -> Iterator[str]:
    """Texts given as `reason=…`, and all other texts that look like one and are not compared or cast."""
    match node:
        case ast.keyword(arg="reason", value=value):
            yield from (inner.value for inner in ast.walk(value) if _is_text(inner) and inner.value[:1].isupper())
            return
        case (
            ast.Compare()
            | ast.Subscript()
            | ast.Call(func=ast.Name(id="cast"))
            | ast.Assign(targets=[ast.Name(id="__all__")])
        ):
            return
        case ast.Constant(value=str(text)) if looks_like_one(text):
            yield text
    for child in ast.iter_child_nodes(node):
        yield from _reasons_in(child, looks_like_one)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
