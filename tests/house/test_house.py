"""The rules of the house that no linter holds: who may import what, what help and documents must say, file sizes."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "hazd").rglob("*.py"))
ONLY_IN = {
    "httpx": ("hazd/traffic/senders/httpx.py",),
    "kubernetes": ("hazd/cluster/",),
    "matplotlib": ("hazd/report/",),
    "rich": ("hazd/report/",),
    "trustme": ("hazd/sample_app/certificate.py",),
    "typer": ("hazd/cli/",),
}
HEAVY = ("kubernetes", "pandas", "numpy", "pyarrow", "matplotlib", "httpx", "scipy", "anyio", "rich", "jinja2")
LONGEST = 500


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {item.name.split(".")[0] for item in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", ONLY_IN)
def test_a_library_is_imported_only_where_it_belongs(package: str) -> None:
    """Each outside library sits behind one border of ours."""
    users = {str(path.relative_to(ROOT)) for path in SOURCES if package in imported(path)}
    assert users, f"nobody imports {package}: is the rule still needed?"
    assert {user for user in users if not user.startswith(ONLY_IN[package])} == set()


def test_help_imports_nothing_heavy() -> None:
    """`hazd --help` answers at once: none of the heavy libraries is loaded for it."""
    code = (
        "import sys; sys.argv=['hazd','--help']\n"
        "from hazd.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('LOADED', sorted(set({HEAVY!r}) & {{name.split('.')[0] for name in sys.modules}}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_a_lab_run_loads_nothing_heavy_before_traffic_starts() -> None:
    """From the options to the disruption: what only reports need is loaded after it, where it delays no request."""
    code = (
        "import sys\n"
        "import hazd.cli.run, hazd.cli.conduct, hazd.cluster.choose, hazd.cluster.kind.lifecycle, hazd.report.live\n"
        "import hazd.fixes, hazd.plan, hazd.trial.order, hazd.scenario, hazd.cluster.lab.cluster\n"
        f"print('LOADED', sorted({set(HEAVY) - {'anyio', 'rich'}!r} & {{name.split('.')[0] for name in sys.modules}}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"


def commands() -> list[str]:
    import hazd.cli
    import hazd.cli.cluster
    import hazd.cli.compare
    import hazd.cli.matrix
    import hazd.cli.reports
    import hazd.cli.run

    root = get_command(hazd.cli.app)
    found = []
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found += [f"{name} {item}" for item in inner] if inner else [name]
    return found


def test_every_command_has_help_and_stands_in_the_readme() -> None:
    """A command nobody can find does not exist."""
    readme = (ROOT / "README.md").read_text()
    assert {name for name in commands() if f"hazd {name}" not in readme} == set()


def test_every_module_says_why_it_exists() -> None:
    """Module docstrings are the map of the code."""
    assert [str(path.relative_to(ROOT)) for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_files_stay_readable() -> None:
    """A file that outgrows a few screens is two files."""
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCES}
    assert {path: lines for path, lines in long.items() if lines > LONGEST} == {}


def test_all_is_exact() -> None:
    """__all__ names only what the module defines."""
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        exported = [
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "__all__" for target in node.targets)
        ]
        text = path.read_text()
        for name in exported[0] if exported else []:
            rest = re.sub(r"__all__ = \[.*?\]", "", text, flags=re.DOTALL)
            assert re.search(rf"\b{name}\b", rest), f"{path}: {name} is not defined"


def test_the_changelog_knows_this_version() -> None:
    """CHANGELOG.md and the package agree on the version."""
    from hazd import __version__

    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_nothing_names_a_machine_or_a_registry_host() -> None:
    """The project works on any machine: no path of one, no host of a package registry."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    bad = re.compile(
        "|".join(["/wo" + "rk/", "/ro" + "ot/", "proxy.gol" + "ang", "pypi" + r"\.org", "deb\\.deb" + "ian"])
    )
    found = []
    for name in tracked:
        path = ROOT / name
        if path.is_file() and path.suffix not in (".png", ".arrow", ".sum", ".svg"):
            found += [
                f"{name}:{n}"
                for n, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
                if bad.search(line)
            ]
    assert found == []
