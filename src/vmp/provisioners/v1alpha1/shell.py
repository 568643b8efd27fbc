"""Values to POSIX shell: the one place where anything is quoted for a shell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def quote(value: str) -> str:
    """Return a word that the shell reads back as exactly ``value``; nothing in it is ever evaluated."""
    return "'" + value.replace("'", "'\\''") + "'"


def assignment(name: str, value: str) -> str:
    """Return the assignment of a variable."""
    return f"{name}={quote(value)}\n"


def default(name: str, value: str) -> str:
    """Return the assignment of a variable that the environment or make's command line may have set."""
    return f'[ "${{{name}+set}}" ] || {name}={quote(value)}\n'


def each(name: str, comment: str, rows: Iterable[Sequence[str]]) -> str:
    """Return a function that calls its arguments once per row, with the row's words behind them."""
    calls = [f'\t"$@" {" ".join(map(quote, row))} || return\n' for row in rows]
    return f"# {comment}\n{name}() {{\n{''.join(calls) or _NOTHING}}}\n"


def arguments(name: str, comment: str, words: Sequence[str]) -> str:
    """Return a function that calls its arguments once, with the words behind them."""
    lines = "".join(f" \\\n\t\t{quote(word)}" for word in words)
    return f'# {comment}\n{name}() {{\n\t"$@"{lines}\n}}\n'


_NOTHING = "\t:\n"
