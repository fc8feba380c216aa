"""The source files that a stage depends on, for Snakemake, which does not track imported packages."""

import ast
import functools
import hashlib
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
ROOT = PACKAGE.parent


def module_file(name: str) -> Path | None:
    """The file of a module in this checkout or in the working folder (a user's reward); None for any other."""
    root = ROOT if name.split(".")[0] in (PACKAGE.name, "recipe") else Path.cwd()
    base = root.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def imported(path: Path, name: str = "") -> frozenset[str]:
    """Names that a source file imports, at any depth. name: of its module, to resolve relative imports."""
    return _imported(path.read_text(encoding="utf-8"), name, path.name == "__init__.py")


@functools.cache  # every stage reaches most files, and parsing them is most of what planning takes
def _imported(source: str, name: str, package: bool) -> frozenset[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            up = node.level - package
            parent = name.split(".")[: -up or None] if node.level else []
            base = ".".join([*parent, *([node.module] if node.module else [])])
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def sources(module: str, apart_from: tuple[str, ...] = ()) -> set[Path]:
    """The files that `module` reaches through imports, including itself; modules under `apart_from` are skipped."""
    found: set[Path] = set()
    todo = {module}
    while todo:
        name = todo.pop()
        path = module_file(name)
        if path is None or path in found or name.startswith(apart_from):
            continue
        found.add(path)
        todo |= imported(path, name)
        if package := name.rpartition(".")[0]:
            todo.add(package)  # its __init__ runs first
    return found


def code(*modules: str, apart_from: tuple[str, ...] = ()) -> str:
    """A digest of the code behind modules, for a rule's params: only an edit of that code reruns the stage."""
    digest = hashlib.sha256()
    for path in sorted(set().union(*(sources(module, apart_from) for module in modules))):
        # Relative paths, so that a checkout may move.
        root = ROOT if path.is_relative_to(ROOT) else Path.cwd()
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
