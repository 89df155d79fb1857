"""The README, the example settings and the unit say what there is, no more and no less."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ssyncd import config, service
from ssyncd.cli import cli
from ssyncd.errors import Exit

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


COMMANDS = dict(commands(cli))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_readme_has_every_command(name):
    assert re.search(rf"`(ssyncd )?{name}\b", README), f"{name} is not in the README"


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_the_readme_has_every_option(name):
    command = COMMANDS.get(name, cli)
    missing = [
        option.opts[-1]
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden and option.opts[-1] not in README
    ]
    assert missing == []


def test_the_readme_has_no_command_that_is_not_there():
    tops = {name.split()[0] for name in COMMANDS}
    shown = {found[1] for found in re.finditer(r"`ssyncd (?:-v )?([a-z]+)", README)}
    shown |= {found[1] for found in re.finditer(r"^ssyncd ([a-z]+)", README, re.MULTILINE)}
    assert shown - tops == set()


def test_the_readme_has_no_option_that_is_not_there():
    known = {opt for command in [cli, *COMMANDS.values()] for option in command.params for opt in option.opts}
    shown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) - {"--help", "--user"}
    assert shown - known == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does(name):
    assert COMMANDS[name].help


def test_the_readme_has_every_exit_code():
    rows = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    assert rows == {*map(int, Exit), 130}


def test_the_readme_maps_what_there_is():
    table = README[README.index("## The map") : README.index("## Commands")]
    for part in re.findall(r"`([\w/.]+)`", table):
        assert any((base / part).exists() for base in (ROOT, ROOT / "ssyncd")), part
    for folder in (ROOT / "ssyncd").iterdir():
        if folder.is_dir() and (folder / "__init__.py").exists():
            assert f"`ssyncd/{folder.name}/`" in table


def test_the_example_settings_are_the_declared_ones():
    assert (ROOT / "config.example.toml").read_text("utf-8") == config.example()


def test_the_readme_tells_the_places_of_settings_it_names():
    for name in re.findall(r"`(hold_\w+|listen|ignore)`", README):
        assert f"# {name} = " in config.example()


def test_the_scripts_of_the_readme_are_there():
    for script in re.findall(r"^(\.ci/\w+)$", README, re.MULTILINE):
        assert (ROOT / script).stat().st_mode & 0o111


def test_the_unit_in_the_repository_is_the_one_that_is_installed():
    assert (ROOT / "systemd" / "ssyncd.service").read_text("utf-8") == service.render(["ssyncd", "start"], {})


def test_the_changelog_knows_the_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text("utf-8")
