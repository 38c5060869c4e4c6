"""The direction of imports and a few house rules, read from the syntax trees."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "core": {"streamlit", "pages", "training", "Home"},
    "training": {"streamlit", "pages", "Home"},
    "pages": {"training", "torch", "sqlalchemy"},
    "Home.py": {"training", "torch", "sqlalchemy"},
}


def _sources(place: str) -> list[Path]:
    path = ROOT / place
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def _trees() -> Iterator[tuple[Path, ast.Module]]:
    for place in FORBIDDEN:
        for path in _sources(place):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module


@pytest.mark.parametrize("place", FORBIDDEN)
def test_imports_point_one_way(place: str) -> None:
    assert _sources(place)
    for path in _sources(place):
        for module in _imported(ast.parse(path.read_text(encoding="utf-8"))):
            assert module.split(".")[0] not in FORBIDDEN[place], f"{path}: {module}"
            if place in ("pages", "Home.py") and module.startswith("pages"):
                assert module.startswith("pages.components") or module == "pages.components", f"{path}: {module}"


def test_pages_ask_only_core_and_their_components() -> None:
    for path in [ROOT / "Home.py", *sorted((ROOT / "pages").glob("*.py"))]:
        for module in _imported(ast.parse(path.read_text(encoding="utf-8"))):
            top = module.split(".")[0]
            assert top in {"core", "pages", "streamlit"} | sys.stdlib_module_names, f"{path}: {module}"


def test_data_holds_no_code() -> None:
    assert not list((ROOT / "data").rglob("*.py"))


def test_caches_live_in_one_module() -> None:
    for path, tree in _trees():
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
        if path.name != "resources.py":
            assert not names & {"cache_data", "cache_resource"}, path
    resources = ast.parse((ROOT / "pages" / "components" / "resources.py").read_text(encoding="utf-8"))
    decorators = [d for node in ast.walk(resources) if isinstance(node, ast.FunctionDef) for d in node.decorator_list]
    assert decorators
    for decorator in decorators:
        assert isinstance(decorator, ast.Call)
        assert any(keyword.arg == "max_entries" for keyword in decorator.keywords)


def test_nothing_unpickles_and_nothing_is_swallowed() -> None:
    for path, tree in _trees():
        assert not {"pickle", "joblib", "dill"} & set(_imported(tree)), path
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"{path}:{node.lineno}: bare except"
            if isinstance(node, ast.Call):
                name, options = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert name not in ("eval", "exec"), f"{path}:{node.lineno}"
                assert name != "torch.load" or options.get("weights_only") == "True", f"{path}:{node.lineno}"
                assert options.get("allow_pickle", "False") == "False", f"{path}:{node.lineno}"


def test_pages_set_their_frame_first_and_stay_short() -> None:
    for path in [ROOT / "Home.py", *sorted((ROOT / "pages").glob("*.py"))]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef)]
        first = next(node for node in calls if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)))
        assert ast.unparse(first).startswith("open_page("), path
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 90, path
