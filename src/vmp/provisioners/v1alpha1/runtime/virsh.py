"""libvirt, asked and told through virsh: one conversation keeps one connection for the whole run.

Where a virsh cannot converse (it lacks readline), each question is a process of its own: slower, and as correct.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from .conversation import Conversation, Failed, Hung, Replies, lost
from .programs import run_program
from .say import show

_FIRST = 60.0
"""Seconds for the first answer, the connection included."""


def quote(word: str) -> str:
    """Quote a word for virsh's own parser, which reads quotes as a shell does."""
    return "'" + word.replace("'", "'\\''") + "'"


class Virsh:
    """One connection to libvirt. It opens when it is first used."""

    def __init__(
        self, uri: str, seconds: int, directory: str = ".", shown_uri: str = "", *, read_only: bool = False
    ) -> None:
        self.uri = uri
        self.seconds = seconds
        self.directory = directory
        self._shown_uri = shown_uri or uri
        self._shown = ["virsh", *(["-r"] if read_only else []), "-c", self._shown_uri]
        self._words = ["virsh", "-q", *(["-r"] if read_only else []), "-c", uri]
        self._conversation: Conversation | None = None
        self._converses = True
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Return the process that carries out what is asked; None where each question has one of its own."""
        conversation = self._conversation
        return conversation.pid if conversation else None

    def ask(self, *words: str, seconds: int | None = None) -> str:
        """Return what a command prints. Raises Failed with libvirt's words, or Lost."""
        (answer,) = self._breathe([words], self.seconds if seconds is None else seconds)
        if isinstance(answer, Failed):
            raise answer
        return answer

    def ask_all(self, *questions: Sequence[str]) -> list[str | Failed]:
        """Ask what belongs together in one breath. Of what was refused, the error comes in place of the answer.

        virsh does not say which of several it has refused: then each is asked by itself.
        """
        return self._breathe(questions, self.seconds) if questions else []

    def _breathe(self, questions: Sequence[Sequence[str]], seconds: int) -> list[str | Failed]:
        for words in questions:
            show([*self._shown, *words])
        if not any(ord(letter) < 32 or ord(letter) == 127 for words in questions for word in words for letter in word):
            with self._lock:
                if self._converses and self._conversation is None:
                    self._begin()
                if self._converses:
                    return self._converse(questions, seconds)
        return [self._ask_process(words, seconds) for words in questions]

    def try_(self, *words: str) -> str:
        """Carry out a command that may be refused; return libvirt's words then, else ''."""
        try:
            self.ask(*words)
        except Failed as error:
            return str(error) or "libvirt gave no reason"
        return ""

    def close(self) -> None:
        """End the conversation. Who asks after this, begins another one."""
        if self._conversation is not None:
            conversation, self._conversation = self._conversation, None
            conversation.end()

    def _begin(self) -> None:
        """Begin a conversation, and find out whether this virsh can have one."""
        self._conversation = Conversation(self._words, self._shown_uri, self.directory)
        try:
            self._converses = b"echo ready" in self._exchange(["echo ready"], min(self.seconds or _FIRST, _FIRST)).echo
        except Hung:  # it lives, and is silent: without readline it may keep its answers to itself
            self._converses = False
        if not self._converses:  # without readline a line may have 1023 bytes at most
            self.close()

    def _exchange(self, commands: Sequence[str], seconds: float) -> Replies:
        assert self._conversation
        try:
            return self._conversation.exchange(commands, seconds)
        except BaseException:
            self.close()  # whoever asks next, after Ctrl+C too, asks another virsh
            raise

    def _converse(self, questions: Sequence[Sequence[str]], seconds: float) -> list[str | Failed]:
        commands = [" ".join(map(quote, words)) for words in questions]
        replies = self._exchange(commands, seconds)
        found: list[str | Failed] = [output for output in replies.outputs if output is not None]
        if len(found) == len(commands) and not _tells_error(replies.errors):
            return found
        if len(commands) == 1:
            return [Failed(_words_of(replies.errors) or "virsh gave no answer")]
        return [self._converse([words], seconds)[0] for words in questions]

    def _ask_process(self, words: Sequence[str], seconds: int) -> str | Failed:
        ended = run_program([*self._words, *words], seconds, cwd=self.directory)
        if ended.timed_out:
            raise Hung(seconds)
        if ended.code < 0:
            raise lost(self._shown_uri)
        return Failed(_words_of(ended.errors)) if ended.code else ended.output


def _tells_error(errors: str) -> bool:
    """Tell whether virsh has refused a command: it says so in a line that begins with `error: `, in every language."""
    return any(line.startswith("error: ") for line in errors.splitlines())


def _words_of(errors: str) -> str:
    """Return libvirt's words without virsh's `error: `; further lines are indented below the first."""
    return "\n".join([line[7:] if line.startswith("error: ") else f"  {line}" for line in errors.splitlines() if line])
