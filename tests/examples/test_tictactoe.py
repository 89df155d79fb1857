"""The game as two real processes, and its rules."""

import pytest

from ssyncd.examples.tictactoe import Game, Move, board, fault, played, winner
from tests.programs import first_to_show, server_process, signed_in, terminals

PLAY = ["-m", "ssyncd.examples.tictactoe"]


@pytest.fixture
def table(tmp_path):
    """A server and two terminals, X and O, that wait for a first move."""
    with server_process(tmp_path / "server") as server:
        environment = signed_in(tmp_path / "home", server.account)
        with terminals([*PLAY, "X"], [*PLAY, "O"], environment=environment) as (x, o):
            for one in (x, o):
                one.shows("your move")
            yield server, x, o


@pytest.mark.slow
def test_two_terminals_play_a_game(table):
    _, x, o = table
    for player, other, cell in ((x, o, "1"), (o, x, "4"), (x, o, "2"), (o, x, "5")):
        player.type(cell)
        player.shows("their move")
        other.shows("your move")
    x.type("3")
    for one in (x, o):
        one.shows("X | X | X\n--+---+--\nO | O | 6")
        one.shows("X wins")
    o.type("6")
    o.shows("the game is over")
    o.type("n")
    for one in (x, o):
        one.shows("your move")


@pytest.mark.slow
def test_what_is_against_the_rules_is_said(table):
    _, x, o = table
    x.type("5")
    o.shows("your move")
    for player, typed, said in (
        (x, "1", "not your turn"),
        (o, "5", "that cell is taken"),
        (o, "0", "cells are 1 to 9"),
        (o, "hm", "a cell from 1 to 9"),
    ):
        player.type(typed)
        player.shows(said)


@pytest.mark.slow
def test_who_moves_at_once_sees_which_move_counts(table):
    server, x, o = table
    with server.held():
        x.type("1")
        x.shows("their move")
        o.type("9")
        o.shows("their move")
    loser = first_to_show("you both moved at once", x, o)
    counts, other, drawn = ("O on 9", o, "7 | 8 | O") if loser is x else ("X on 1", x, "X | 2 | 3")
    loser.shows(f"you both moved at once: {counts} counts")
    loser.shows(drawn)
    loser.shows("your move")
    loser.type("5")
    other.shows("your move")
    assert "at once" not in other.rest()
    assert "at once" not in loser.rest()


def moves(*cells):
    return [Move("XO"[at % 2], cell) for at, cell in enumerate(cells)]


@pytest.mark.parametrize(
    ("before", "move", "said"),
    [
        ([], Move("X", 0), ""),
        ([], Move("O", 8), ""),
        (moves(0), Move("O", 1), ""),
        (moves(0), Move("X", 1), "turn"),
        (moves(0), Move("O", 0), "taken"),
        (moves(0), Move("O", 9), "1 to 9"),
        (moves(0), Move("?", 1), "1 to 9"),
        (moves(0, 3, 1, 4, 2), Move("O", 8), "over"),
        (moves(0, 1, 2, 4, 3, 5, 7, 6, 8), Move("O", 0), "over"),
    ],
)
def test_the_rules(before, move, said):
    assert said in fault(before, move)
    assert bool(fault(before, move)) == bool(said)


def test_what_breaks_the_rules_in_a_shared_game_is_left_out():
    game = Game(1, {"1": Move("X", 0), "2": Move("X", 1), "3": Move("O", 2)})
    assert played(game) == [Move("X", 0)]
    assert played(Game(1, {"2": Move("X", 1)})) == []


def test_who_wins():
    assert winner(moves(0, 1, 4, 2, 8)) == "X"
    assert winner(moves(0, 2, 1, 4, 8, 6)) == "O"
    assert winner(moves(0, 1)) == ""
    assert board(moves(4, 0)) == "O | 2 | 3\n--+---+--\n4 | X | 6\n--+---+--\n7 | 8 | 9\n"
