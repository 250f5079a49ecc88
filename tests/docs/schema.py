"""The JSON of the commands, from the types in core/report/schema.py and the sentences below each key there."""

import ast
import inspect
from collections.abc import Iterator, Mapping
from itertools import chain

from supervisor.core.report import schema
from tests.docs.markdown import heading, items, paragraph, parts

_WORDS = {
    "str": "text",
    "int": "number",
    "float": "number",
    "bool": "true or false",
    "None": "null",
}


def shapes() -> str:
    """Return a subsection for each type of object."""
    tree = ast.parse(inspect.getsource(schema))
    nodes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    return parts(*(_shape(node, nodes) for node in nodes.values()))


def _shape(node: ast.ClassDef, nodes: Mapping[str, ast.ClassDef]) -> str:
    doc = ast.get_docstring(node)
    assert doc, f"{node.name} is not documented"
    bases = [nodes[name] for name in map(ast.unparse, node.bases) if name in nodes]
    keys = chain.from_iterable(_keys(each) for each in (*bases, node))
    return parts(heading(_title(node.name)), paragraph(doc), items(keys))


def _title(name: str) -> str:
    return name.removesuffix("Shape")


def _keys(node: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    for position, field in enumerate(node.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            below = node.body[position + 1] if position + 1 < len(node.body) else None
            match below:
                case ast.Expr(value=ast.Constant(value=str(doc))):
                    yield field.target.id, doc, f", {_type(field.annotation)}"
                case _:
                    raise AssertionError(f"{node.name}.{field.target.id} is not documented")


def _type(node: ast.expr) -> str:
    if isinstance(node, ast.BinOp):
        return f"{_type(node.left)} or {_type(node.right)}"
    if isinstance(node, ast.Subscript):
        return f"list of {_type(node.slice)}"
    name = ast.unparse(node)
    return _WORDS.get(name) or _title(name)
