"""The house: which package imports which, what is public, what library code must not do."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"pcinv": ROOT / "pcinv", "pcinv_data": ROOT / "data/pcinv_data",
            "pcinv_cli": ROOT / "cli/pcinv_cli"}
# A part may import the parts of its own row and of the rows above it.
LAYERS = (
    {"errors", "types", "limits", "plugins"},
    {"checks"},
    {"geometry", "ops", "io"},
    {"nn"},
    {"models", "losses", "metrics"},
    {"tasks", "registration", "sceneflow"},
    {"engine"},
    {"pcinv_data", "vis"},
    {"pcinv_cli"},
)
RANK = {part: rank for rank, row in enumerate(LAYERS) for part in row}
HEAVY = {"open3d", "trimesh", "laspy", "h5py", "torch_cluster", "torch_quickfps", "small_gicp",
         "kiss_matcher", "numba", "pyarrow"}
FILES = [(name, path) for name, root in PACKAGES.items() for path in sorted(root.rglob("*.py"))]
IDS = [str(path.relative_to(ROOT)) for _, path in FILES]


def part_of(module: str) -> str | None:
    """pcinv.ops.knn -> ops; pcinv_data.shapes -> pcinv_data; numpy -> None."""
    names = module.split(".")
    if names[0] in ("pcinv_data", "pcinv_cli"):
        return names[0]
    return names[1] if names[0] == "pcinv" and len(names) > 1 else None


def imports(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def upward(own: str, modules: list[str]) -> list[str]:
    parts = [(m, part_of(m)) for m in modules]
    return [m for m, part in parts if part in RANK and RANK[part] > RANK[own]]


@pytest.mark.parametrize("name, path", FILES, ids=IDS)
def test_imports_point_one_way(name, path):
    tree = ast.parse(path.read_text())
    module = ".".join((name, *path.relative_to(PACKAGES[name]).with_suffix("").parts))
    own = part_of(module)
    if own in RANK:
        assert upward(own, imports(tree)) == []


def test_an_import_upward_would_be_seen():
    assert upward("ops", imports(ast.parse("from pcinv.models import registry"))) != []
    assert upward("engine", imports(ast.parse("import pcinv_data"))) == ["pcinv_data"]


@pytest.mark.parametrize("name, path", FILES, ids=IDS)
def test_library_code_is_short_and_quiet(name, path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "each file says what it is for"
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Assert), f"assert in line {node.lineno}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and name != "pcinv_cli":
            assert node.func.id not in ("print", "exit", "input", "eval", "exec")
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"bare except in line {node.lineno}"
    heavy = HEAVY - {"numba"} if path.stem == "jit" else HEAVY
    for node in tree.body:  # heavy packages are imported where they are used
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert not heavy & {m.split(".")[0] for m in imports(node)}


def test_models_do_not_import_each_other():
    for path in (ROOT / "pcinv/models").glob("*.py"):
        mine = f"pcinv.models.{path.stem}"
        others = [m for m in imports(ast.parse(path.read_text())) if m.startswith("pcinv.models.")]
        table = "pcinv.models.registry.create_model"  # a method may stand on any other, by name
        assert all(m.startswith(mine) or path.stem == "registry" or m == table for m in others)


def test_kernels_are_imported_where_they_are_used():
    for _, path in FILES:
        for node in ast.parse(path.read_text()).body:
            found = imports(node) if isinstance(node, ast.Import | ast.ImportFrom) else []
            compiled = [m for m in found if m.startswith("pcinv.ops.jit") or "kernels" in m]
            assert not compiled or path.stem.endswith("kernels"), path


@pytest.mark.parametrize("package, light", [("pcinv", "numpy"), ("pcinv_data", "torch"),
                                            ("pcinv_cli.main", "numpy"), ("pcinv.io", "torch"),
                                            ("pcinv.models.registry", "torch")])
def test_importing_is_cheap(package, light):
    code = f"import sys, {package}; sys.exit(' '.join({{'torch', 'numpy'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert light not in done.stderr.split() and "Error" not in done.stderr


def test_the_public_surface():
    import pcinv

    assert sorted(pcinv.__all__) == sorted([
        "Config", "Mesh", "PcinvError", "PointCloud", "RegistrationResult", "Sample", "Scan",
        "__version__", "check", "create_model", "describe_file", "describe_model", "embed",
        "evaluate", "flow", "list_models", "load_config", "load_dataset", "load_model", "odometry",
        "open_sequence", "predict", "pretrain", "read", "read_cloud", "register", "register_folder",
        "register_pairs", "sample_surface", "search", "train", "write",
    ])
    for name in pcinv.__all__:
        assert getattr(pcinv, name) is not None
    assert set(pcinv.__all__) <= set(dir(pcinv))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = pcinv.trian


def test_versions_agree():
    import tomllib

    import pcinv

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert declared == pcinv.__version__
