"""What a module's docstring shows can be typed in: its names, arguments and attributes are there.

Read are the indented examples that are Python; commands, trees and tables are not. What a call or
an attribute gives is told by annotations; where they do not tell, anything is believed.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
import textwrap
from collections.abc import AsyncIterable, Iterable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_origin, get_type_hints

import pytest

SRC = Path(__file__).parents[1] / "src"
BLOCKS = re.compile(r"(?<=\n\n)(?: {4}.*(?:\n|$)|\n(?= {4}))+")


def examples(docstring: str) -> list[ast.Module]:
    found = []
    for block in BLOCKS.findall(docstring):
        try:
            found.append(ast.parse(textwrap.dedent(block)))
        except SyntaxError:
            continue
    return found


def shown() -> dict[str, list[ast.Module]]:
    found = {}
    for path in sorted(SRC.rglob("*.py")):
        name = ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")
        docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
        if parsed := examples(docstring or ""):
            found[name] = parsed
    return found


SHOWN = shown()


@cache
def elsewhere() -> dict[str, Any]:
    """What an example may take from another module; None where several mean different things."""
    found: dict[str, Any] = {}
    for module in map(importlib.import_module, SHOWN):
        for name, thing in vars(module).items():
            found[name] = thing if found.get(name, thing) is thing else None
    return found


class Reader(ast.NodeVisitor):
    """Goes through an example as if it ran, with kinds in the place of values.

    A kind is a class, an annotation like `list[Row]`, or None where nothing is known.
    """

    def __init__(self, module: ModuleType, example: ast.Module) -> None:
        self.names = {**vars(builtins), **vars(module), "trueup": importlib.import_module("trueup")}
        self.kinds: dict[str, Any] = {}
        self.complaints: dict[str, None] = {}
        for node in ast.walk(example):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self.kinds[node.id] = None
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.kinds[node.name] = None
        self.visit(example)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        self.bind(node.targets[0], self.kind(node.value))

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.bind(node.target, element(self.kind(node.iter)))
        self.generic_visit(node)

    visit_AsyncFor = visit_For

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = importlib.import_module(str(node.module))
        for one in node.names:
            self.expect(hasattr(module, one.name), f"{node.module} has no {one.name}")

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        self.kind(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        self.kind(node)

    def expect(self, met: bool, complaint: str) -> None:
        if not met:
            self.complaints[complaint] = None

    def bind(self, target: ast.expr, kind: Any) -> None:
        if isinstance(target, ast.Name):
            self.kinds[target.id] = kind
        elif isinstance(target, ast.Tuple) and ours(kind):
            self.expect(hasattr(kind, "__iter__"), f"{kind.__name__} is no tuple")
        elif isinstance(target, ast.Tuple) and get_origin(kind) is tuple:
            for one, part in zip(target.elts, get_args(kind), strict=False):
                self.bind(one, part)

    def thing(self, node: ast.expr) -> Any:
        """What an expression names, if that is a part of a module or of a class."""
        if isinstance(node, ast.Name) and node.id not in self.kinds:
            return self.names.get(node.id, elsewhere().get(node.id))
        if isinstance(node, ast.Attribute):
            return getattr(self.thing(node.value) or self.kind(node.value), node.attr, None)
        return None

    def kind(self, node: ast.expr) -> Any:
        match node:
            case ast.Name():
                return self.kinds.get(node.id)
            case ast.Await():
                return self.kind(node.value)
            case ast.Subscript():
                return element(self.kind(node.value))
            case ast.Call():
                return self.called(node)
            case ast.Attribute() if ours(owner := self.kind(node.value)):
                self.expect(has(owner, node.attr), f"{owner.__name__} has no {node.attr}")
                member = getattr(owner, node.attr, None)
                getter = member.fget if isinstance(member, property) else None
                return hints(getter).get("return") or hints(owner).get(node.attr)
        return None

    def called(self, node: ast.Call) -> Any:
        function = self.thing(node.func)
        if isinstance(node.func, ast.Name):
            there = node.func.id in {*self.kinds, *self.names, *elsewhere()}
            self.expect(there, f"nothing is called {node.func.id}")
        if not str(getattr(function, "__module__", "")).startswith("trueup"):
            return None
        bound = isinstance(node.func, ast.Attribute) and self.kind(node.func.value) is not None
        self.fits(node, function, itself=bound and inspect.isfunction(function))
        return function if isinstance(function, type) else hints(function).get("return")

    def fits(self, node: ast.Call, function: Any, *, itself: bool) -> None:
        given = [ast.unparse(one) for one in (*node.args, *node.keywords)]
        if any(one == "..." or one.startswith("*") for one in given):
            return
        keywords = {str(one.arg): one for one in node.keywords}
        try:
            inspect.signature(function).bind(*[node] * itself, *node.args, **keywords)
        except TypeError as error:
            self.expect(False, f"{ast.unparse(node)}: {error}")


def ours(kind: Any) -> bool:
    return isinstance(kind, type) and kind.__module__.startswith("trueup")


def hints(thing: Any) -> dict[str, Any]:
    try:
        return get_type_hints(thing)
    except (NameError, TypeError):
        return {}


def element(kind: Any) -> Any:
    """What is in it, of an annotation like `list[Row]`."""
    origin, inner = get_origin(kind), [one for one in get_args(kind) if one is not ...]
    many = isinstance(origin, type) and issubclass(origin, Iterable | AsyncIterable)
    return inner[0] if many and len(inner) == 1 else None


def has(kind: type, name: str) -> bool:
    """As a member, as a field, or as what a method sets."""
    text = "".join(inspect.getsource(one) for one in kind.__mro__ if ours(one))
    return hasattr(kind, name) or name in hints(kind) or f"self.{name}" in text


@pytest.mark.parametrize("name", SHOWN)
def test_what_a_docstring_shows_is_there(name: str) -> None:
    module = importlib.import_module(name)
    found = [one for example in SHOWN[name] for one in Reader(module, example).complaints]
    assert found == []


@pytest.mark.parametrize(
    ("example", "complaint"),
    [
        ("read_reply(data, request)", "read_reply(data, request): missing a required argument"),
        ("path, body = written(request, 'm', can)", "Written is no tuple"),
        ("sending = written(request, 'm', can)\nsending.route", "Written has no route"),
        ("for one in read_models(data):\n    one.nickname", "Offered has no nickname"),
        ("for row in evaluation_table(found):\n    row.value", "Row has no value"),
        ("read_everything(data)", "nothing is called read_everything"),
        ("from trueup.models.wire import reading", "trueup.models.wire has no reading"),
    ],
)
def test_a_planted_mistake_is_seen(example: str, complaint: str) -> None:
    wire = importlib.import_module("trueup.models.wire")
    (found,) = Reader(wire, ast.parse(example)).complaints
    assert found.startswith(complaint)
