"""The folders of before.yaml -> after.yaml pairs: cases/FIX--WHAT/, with settings.json where the case
has any: fields of FixSettings, and native_sleep.

A new folder is a new case; nothing lists them. `python -m tests.fixes.cases` writes after.yaml where it is missing, to
be read and judged by a person before it is committed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from hazd.fixes import FixSettings, load
from hazd.manifests import dump, load_documents
from hazd.model import Manifest, Setup

FOLDER = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    """One pair; `fixes` are applied in the order the folder's name has them."""

    folder: Path
    fixes: tuple[str, ...]
    settings: FixSettings
    native_sleep: bool

    @property
    def before(self) -> Setup:
        return Setup(load_documents(self.folder / "before.yaml"), native_sleep=self.native_sleep)

    @property
    def after(self) -> tuple[Manifest, ...]:
        return load_documents(self.folder / "after.yaml")

    def applied(self) -> Setup:
        setup, fixes = self.before, load()
        for name in self.fixes:
            setup, _ = fixes[name].apply(setup, self.settings)
        return setup


def all_cases() -> list[Case]:
    found = []
    for folder in sorted(path for path in FOLDER.iterdir() if (path / "before.yaml").exists()):
        names = folder.name.split("--")[0]
        fixes = tuple(load()) if names == "all" else tuple(names.split("+"))
        path = folder / "settings.json"
        given = json.loads(path.read_text()) if path.exists() else {}
        native_sleep = given.pop("native_sleep", True)
        found.append(Case(folder, fixes, FixSettings(**given), native_sleep))
    return found


if __name__ == "__main__":
    for case in all_cases():
        target = case.folder / "after.yaml"
        if not target.exists():
            target.write_text(dump(case.applied().documents))
            print(target)
