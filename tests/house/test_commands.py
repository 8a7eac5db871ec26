"""Every command that workflows, the Makefile and the README show can be typed: targets exist, options parse."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from tests.nightly_steps import ROOT, shell_steps

OTHERS = {"rm", "cp"}
"""Programs that a step may call besides make and hazd; every runner has them."""


def targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def parse(words: list[str]) -> None:
    """What hazd does with its arguments before it does anything else. Raises typer's own errors, or KeyError."""
    import hazd.cli
    import hazd.cli.cluster
    import hazd.cli.compare
    import hazd.cli.matrix
    import hazd.cli.reports
    import hazd.cli.run

    name, command = "hazd", get_command(hazd.cli.app)
    while inner := getattr(command, "commands", None):
        name, *words = words
        command = inner[name]
    command.make_context(name, words)


def commands_in(shell: str) -> list[list[str]]:
    """The simple commands of a line of shell, without redirections, make's and the shell's variables left out."""
    shell = re.sub(r"\$\((wildcard )?[^()]*\)", "", shell.replace("$(HAZD)", ".venv/bin/hazd"))
    parts = re.split(r"&&|\|\||;|\n|\{ | \}", shell)
    return [words for part in parts if (words := shlex.split(re.sub(r"\d?>\s*\S+", "", part)))]


def check(words: list[str]) -> None:
    program, *rest = words
    if program == "make":
        assert {word for word in rest if "=" not in word} <= targets()
    elif program.rsplit("/", 1)[-1] == "hazd":
        parse(rest)
    else:
        assert program in OTHERS


@pytest.mark.parametrize("step", shell_steps())
def test_every_shell_step_of_the_nightly_workflow_can_be_typed(step: str) -> None:
    """A target that does not exist or an option that was renamed would fail the first time a user copies it."""
    found = commands_in(shell_steps()[step])
    assert found
    for words in found:
        check(words)


def test_the_nightly_target_and_the_readmes_core_of_it_agree() -> None:
    """What the README shows as its core is what `make nightly` runs: the same matrix, then a comparison."""
    recipe = (ROOT / "Makefile").read_text().split("\nnightly:")[1].split("\n")[1]
    made = [words for words in commands_in(recipe) if words[0].endswith("hazd")]
    shown = [words for words in commands_in(readme_block("## Nightly")) if words[0] == "hazd"]
    assert [words[1] for words in made] == [words[1] for words in shown] == ["matrix", "compare"]
    for words in (*made, *shown):
        check(words)
    matrix = {"--cluster", "kind", "--no-each", "--name", "nightly"}
    assert matrix <= set(made[0]) & set(shown[0])
    assert {"reports/nightly", "--junit", "--markdown"} <= set(made[1]) & set(shown[1])


def readme_block(heading: str) -> str:
    text = (ROOT / "README.md").read_text().split(f"\n{heading}\n")[1].split("\n## ")[0]
    return "\n".join(re.findall(r"```\n(.*?)```", text, re.DOTALL))


def test_every_example_of_the_readme_can_be_typed() -> None:
    """Lines of code blocks that begin with hazd or make, with or without a prompt; comments are no arguments."""
    lines = [
        line.strip().removeprefix("$ ").split("  #")[0]
        for block in re.findall(r"```[a-z]*\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
        for line in block.splitlines()
    ]
    found = [line for line in lines if re.match(r"(hazd|make) ", line)]
    assert len(found) > 5
    for line in found:
        for words in commands_in(line):
            check(words)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["matrix", "--no-eech"], "--no-eech"),
        (["clustr", "create"], "clustr"),
        (["run"], "(?i)missing"),
        (["compare", "--max-failed", "few", "x"], "(?i)integer"),
    ],
)
def test_the_check_itself_finds_what_is_wrong(wrong: list[str], words: str) -> None:
    """A misspelt option or command, a missing argument, a value of the wrong type."""
    with pytest.raises(Exception, match=words):
        parse(wrong)


def test_the_workflows_folders_are_those_that_make_nightly_uses() -> None:
    """The baseline that is kept is the one that the next night is compared with."""
    text = Path(ROOT / ".github" / "workflows" / "nightly.yml").read_text()
    recipe = (ROOT / "Makefile").read_text().split("\nnightly:")[1].split("\n")[1]
    for folder in ("reports/nightly", "reports/baseline"):
        assert folder in text
        assert folder in recipe
