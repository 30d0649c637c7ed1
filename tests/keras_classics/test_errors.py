"""What a command says of what it cannot use."""

from pathlib import Path

import pytest

from keras_classics.errors import InputError, command_line


@command_line
def command(message: str) -> None:
    raise InputError(message)


@pytest.mark.parametrize("letter", ["\x1b[2J", "\u202e", "\udc80", "\x9b2J", "\x07"])
def test_characters_that_steer_a_terminal_do_not_reach_it(letter: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(f"no {letter}\nfile; check\r the path") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: no ")
    assert error.endswith(" file; check the path\n")
    assert error.rstrip("\n").isprintable()


@command_line
def opening(path: str) -> None:
    Path(path).read_bytes()


def test_names_that_no_file_system_takes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ring").symlink_to(tmp_path / "ring")
    for path, mend in ((tmp_path / ("a" * 300), "choose a shorter name"), (tmp_path / "ring", "lead in a circle")):
        assert opening(str(path)) == 2
        error = capsys.readouterr().err
        assert mend in error
        assert error.count("\n") == 1
