import pytest

from ssyncd.commands import output
from ssyncd.status import FolderStatus, Phase, Trouble


def told(capsys: pytest.CaptureFixture[str], *troubles: Trouble) -> list[str]:
    output.say_status([FolderStatus("f", "/f", Phase.SYNCING, "https://server", troubles=troubles)])
    return [line for line in capsys.readouterr().out.splitlines() if "not in sync" in line]


def test_status_names_what_is_not_in_sync(capsys: pytest.CaptureFixture[str]) -> None:
    told_lines = told(capsys, Trouble("a", "why"), Trouble("b\n", "why"), Trouble("c", "because"))
    assert told_lines == ["f: not in sync: a: why", "f: not in sync: b\\n: why", "f: not in sync: c: because"]


def test_what_is_the_trouble_of_many_is_told_a_few_times(capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(capsys, *(Trouble(f"{number:02}", "full") for number in range(60)), Trouble("a", "why"))
    assert [line.split(": ")[2] for line in lines[: output.ALIKE]] == ["00", "01", "02", "03", "04"]
    assert lines[output.ALIKE :] == [
        "f: not in sync: 55 or more others (`--json` names them): full",
        "f: not in sync: a: why",
    ]
