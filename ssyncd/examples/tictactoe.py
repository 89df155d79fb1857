"""`python -m ssyncd.examples.tictactoe X|O`: a game for two terminals.

Start one with X and one with O, and type the number of a cell. Whoever is first opens. If both move at once, the server's order
decides which move counts, both see the same board, and the other player is told. `n` begins a new game, `q` ends.
"""

import argparse
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

from ssyncd import Change, Secrets, Shared, SsyncdError

LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


@dataclass
class Move:
    sign: str
    cell: int


@dataclass
class Game:
    """`moves` by the number of the turn, "1" to "9": two who take the same turn set the same member, so one of them counts."""

    number: int = 1
    moves: dict[str, Move] = field(default_factory=dict)


def played(game: Game) -> list[Move]:
    """The moves in order, up to the first turn nobody took; those that do not follow the rules are left out."""
    moves: list[Move] = []
    while (move := game.moves.get(str(len(moves) + 1))) is not None and not fault(moves, move):
        moves.append(move)
    return moves


def fault(moves: list[Move], move: Move) -> str:
    """What is wrong with a next move; "" if nothing is."""
    if move.sign not in ("X", "O") or not 0 <= move.cell <= 8:
        return "cells are 1 to 9"
    if winner(moves) or len(moves) == 9:
        return "the game is over: n begins a new one"
    if moves and moves[-1].sign == move.sign:
        return "it is not your turn"
    return "that cell is taken" if any(one.cell == move.cell for one in moves) else ""


def winner(moves: list[Move]) -> str:
    cells = {move.cell: move.sign for move in moves}
    won = [cells[line[0]] for line in LINES if line[0] in cells and len({cells.get(at, at) for at in line}) == 1]
    return won[0] if won else ""


def board(moves: list[Move]) -> str:
    cells = [str(at + 1) for at in range(9)]
    for move in moves:
        cells[move.cell] = move.sign
    rows = [" | ".join(cells[at : at + 3]) for at in (0, 3, 6)]
    return "\n--+---+--\n".join(rows) + "\n"


class Player:
    """One terminal. `shared` may change on any thread; what we want of a turn is kept to see whether it counts."""

    def __init__(self, sign: str, shared: Shared[Game]) -> None:
        self.sign = sign
        self.shared = shared
        # Guards `shown` and `mine`: we type on one thread, and hear of changes on another.
        self.lock = threading.Lock()
        self.shown = ""
        self.mine: dict[tuple[int, str], Move] = {}
        shared.on_change(self.changed)
        self.show()

    def move(self, cell: int) -> None:
        with self.shared.change() as game:
            moves, move = played(game), Move(self.sign, cell)
            problem = fault(moves, move)
            if not problem:
                turn = str(len(moves) + 1)
                # What may be left of a turn that did not follow the rules goes.
                game.moves = {str(at + 1): one for at, one in enumerate(moves)} | {turn: move}
                with self.lock:
                    self.mine[game.number, turn] = move
        if problem:
            say(f"{problem}\n")
        else:
            self.show()

    def new_game(self) -> None:
        with self.shared.change() as game:
            game.number += 1
            game.moves = {}
        self.show()

    def changed(self, game: Game, _change: Change) -> None:
        with self.lock:
            for (number, turn), move in list(self.mine.items()):
                counts = game.moves.get(turn)
                if number == game.number and counts is not None and counts != move:
                    del self.mine[number, turn]
                    say(f"you both moved at once: {counts.sign} on {counts.cell + 1} counts\n")
                    self.shown = ""
        self.show()

    def show(self) -> None:
        """Unless it is what was shown last: our own moves come back when they are confirmed."""
        with self.lock:
            moves = played(self.shared.value)
            picture = f"\n{board(moves)}{self.state(moves)}\n"
            if picture != self.shown:
                self.shown = picture
                say(picture)

    def state(self, moves: list[Move]) -> str:
        if who := winner(moves):
            return f"{who} wins"
        if len(moves) == 9:
            return "a draw"
        return "your move" if not moves or moves[-1].sign != self.sign else "their move"


def say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def play(player: Player) -> None:
    for line in sys.stdin:
        word = line.strip().lower()
        if word == "q":
            return
        if word == "n":
            player.new_game()
        elif word.isdecimal() and len(word) < 3:
            player.move(int(word) - 1)
        elif word:
            say("a cell from 1 to 9, n for a new game, q to end\n")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ssyncd.examples.tictactoe", description="A game for two terminals."
    )
    parser.add_argument("sign", choices=["X", "O"])
    parser.add_argument("--table", default="tictactoe", help="the bucket of the game")
    parser.add_argument("--url", default="", help="the server, if not that of the latest ssyncd login")
    parser.add_argument("--state", type=Path, help="a file to keep unsent moves in")
    options = parser.parse_args(arguments)
    try:
        with Shared(Game(), Secrets.from_login(options.url), options.table, state=options.state) as shared:
            play(Player(options.sign, shared))
    except SsyncdError as error:
        sys.stderr.write(f"tictactoe: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
