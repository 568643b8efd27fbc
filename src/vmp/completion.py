"""Shell completion beyond what click brings: words with a colon in bash."""

from __future__ import annotations

from click.shell_completion import BashComplete, CompletionItem, add_completion_class


class ColonBashComplete(BashComplete):
    """Bash takes ``debian:12`` for three words, and replaces only the last of them."""

    _before = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        words, incomplete = super().get_completion_args()
        if incomplete == ":":
            words, incomplete = [*words, ":"], ""
        if words[-1:] == [":"] and len(words) > 1:
            self._before = f"{words[-2]}:"
            return words[:-2], self._before + incomplete
        return words, incomplete

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type},{str(item.value).removeprefix(self._before)}"


def register() -> None:
    """Make click use what is here."""
    add_completion_class(ColonBashComplete)
