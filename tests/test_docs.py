"""The documentation says what the program does, and its links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main

import edge_emotion
from edge_emotion.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "benchmarks/*.md", "models/*.md", "models/*/*.md")
    for path in ROOT.glob(pattern)
)


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load_generator()
PATHS = list(generate.commands())


def command_at(path: tuple[str, ...]) -> Any:
    command: Any = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    return command


def test_cli_page_is_fresh():
    if typer_version := generate.foreign_typer():
        pytest.skip(f"{typer_version} is not the typer of constraints.txt: make test has it")
    written = generate.CLI_PAGE.read_text(encoding="utf-8")
    assert written == generate.cli_page(), "docs/cli.md is stale: run make docs"


def test_terminal_width_does_not_change_the_page(monkeypatch):
    page = generate.cli_page()
    monkeypatch.setenv("COLUMNS", "50")
    assert generate.cli_page() == page


@pytest.mark.parametrize("path", PATHS, ids="-".join)
def test_command_and_its_options_are_documented(path):
    page = generate.CLI_PAGE.read_text(encoding="utf-8")
    title = " ".join(["edge-emotion", *path])
    section = page.partition(f"## {title}\n\n```text\n")[2].partition("\n```\n")[0]
    assert section.startswith(f"Usage: {title}")
    for parameter in command_at(path).params:
        if getattr(parameter, "hidden", False):
            continue
        assert parameter.help, f"{title}: {parameter.name} has no help"
        for name in parameter.opts if parameter.opts[0].startswith("-") else []:
            assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", section)


@pytest.mark.parametrize("path", PATHS[1:], ids="-".join)
def test_command_is_described_in_one_line_of_the_index(path):
    description = command_at(path).help.partition("\n")[0]
    assert description.endswith("."), "the first line of a docstring is a sentence"


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ +(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    words = [re.sub(r"[^\w\- ]", "", title.lower()) for title in titles]
    return {word.strip().replace(" ", "-") for word in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r'(?:src|href)="([^"]+)"', prose)
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name}: {target} does not exist"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{page.name}: {target} has no such heading"


def test_changelog_has_this_version():
    with (ROOT / "pyproject.toml").open("rb") as file:
        declared = tomllib.load(file)["project"]["version"]
    assert declared == edge_emotion.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(declared)}\]", changelog, re.MULTILINE)
