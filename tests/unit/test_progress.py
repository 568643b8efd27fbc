"""How far work is: the line in so many columns, and what a terminal and a log show while real work goes on."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest
from screen import Screen

from vmp.provisioners.v1alpha1.runtime.progress import Pace, ReadBy, amount, clock, fit, width_of

NAME = "web: downloading debian-12-generic-amd64-20240901.qcow2"
PARTS = ("45%", "30 MiB/s", "0:37 left")


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (0, "web: downloading debian-12-generic-amd64-20240901.qcow2, 45%, 30 MiB/s, 0:37 left"),
        (90, "web: downloading debian-12-generic-amd64-20240901.qcow2, 45%, 30 MiB/s, 0:37 left"),
        (80, "web: downloading debian-12...eric-amd64-20240901.qcow2, 45%, 30 MiB/s, 0:37 left"),
        (47, "web: down...901.qcow2, 45%, 30 MiB/s, 0:37 left"),
        (40, "web: downlo...0901.qcow2, 45%, 0:37 left"),
        (30, "web: downlo...40901.qcow2, 45%"),
        (20, "web: d....qcow2, 45%"),
        (6, "45%"),
        (2, ""),
    ],
)
def test_the_rate_goes_first_then_the_time_left_then_the_middle_of_the_name(columns: int, line: str) -> None:
    found = fit(NAME, PARTS, "", columns)
    assert found == line
    assert not columns or len(found) <= columns


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (0, "web: installing, 2:13 of 2:00:00: Unpacking the base system"),
        (80, "web: installing, 2:13 of 2:00:00: Unpacking the base system"),
        (45, "web: installing, 2:13 of 2:00:00: Unpackin..."),
        (40, "web: installing, 2:13 of 2:00:00: Unp..."),
        (39, "web: installing, 2:13 of 2:00:00"),
        (25, "web...ng, 2:13 of 2:00:00"),
        (20, "2:13 of 2:00:00"),
    ],
)
def test_of_a_note_the_end_goes_before_anything_else(columns: int, line: str) -> None:
    assert fit("web: installing", ("2:13 of 2:00:00", "", ""), "Unpacking the base system", columns) == line


@pytest.mark.parametrize("name", ["größe.img", "🐧" * 40, "映像" * 30, "a" * 200])
def test_no_line_is_wider_than_the_terminal_whatever_is_in_the_names(name: str) -> None:
    for columns in range(1, 90):
        for note in ("", name):
            line = fit(f"web: uploading {name}", PARTS, note, columns)
            assert sum(1 if letter.isascii() else 2 for letter in line) == width_of(line) <= columns


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 KiB"),
        (300 << 10, "300 KiB"),
        (1 << 20, "1.0 MiB"),
        (30 << 20, "30 MiB"),
        (921 << 20, "921 MiB"),
        (3 << 29, "1.5 GiB"),
        (250 << 30, "250.0 GiB"),
    ],
)
def test_units(count: int, text: str) -> None:
    assert amount(count) == text


def test_time() -> None:
    assert [clock(seconds) for seconds in (0, 9.9, 42, 600, 3723, 360000)] == [
        "0:00",
        "0:09",
        "0:42",
        "10:00",
        "1:02:03",
        "100:00:00",
    ]


MIB = 1 << 20


def pace(*seen: tuple[float, int]) -> Pace:
    found = Pace()
    for now, mib in seen:
        found.add(now, mib * MIB)
    return found


def test_the_rate_is_that_of_the_last_seconds() -> None:
    slow_then_fast = [(second, second) for second in range(60)] + [
        (60 + second, 60 + 10 * second) for second in range(20)
    ]
    assert pace(*slow_then_fast).parts(79, 1000 * MIB) == ("25%", "10 MiB/s", "1:15 left")


def test_without_a_total_the_amount_stands_for_the_share() -> None:
    assert pace((0, 0), (10, 50)).parts(10, 0) == ("50 MiB", "5.0 MiB/s", "")


def test_what_was_there_before_counts_for_the_share_and_not_for_the_rate() -> None:
    assert pace((0, 500), (10, 510)).parts(10, 1000 * MIB) == ("51%", "1.0 MiB/s", "8:10 left")


def test_it_is_said_for_how_long_nothing_has_come() -> None:
    stalled = pace((0, 0), (10, 100), (20, 100), (30, 100))
    assert stalled.parts(30, 200 * MIB) == ("50%", "", "nothing for 0:20")


def test_what_is_whole_has_no_rate_and_no_time_left() -> None:
    assert pace((0, 0), (10, 100), (30, 100)).parts(30, 100 * MIB) == ("100%", "", "")


def test_a_download_that_begins_anew_has_a_rate_of_its_own() -> None:
    assert pace((0, 900), (1, 901), (2, 0), (3, 7)).parts(3, 0) == ("7.0 MiB", "7.0 MiB/s", "")


def test_more_than_the_total_is_no_more_than_all() -> None:
    assert pace((0, 0), (10, 300)).parts(10, 200 * MIB) == ("100%", "", "")


# From here on work goes on in a process of its own, whose times are shortened.

WORK = """
import threading, time
from types import SimpleNamespace
from vmp.provisioners.v1alpha1.runtime import progress
from vmp.provisioners.v1alpha1.runtime.progress import Progress
from vmp.provisioners.v1alpha1.runtime.say import moving_line, write
progress.LOOK_SECONDS, progress.FIRST_SECONDS, progress.LINE_SECONDS = 0.01, {first}, {line}
vm = SimpleNamespace(name="web")
begin = time.monotonic()
def done():
    return int((time.monotonic() - begin) * (1 << 30))
"""


def script(work: str, *, first: float = 0.02, line: float = 10) -> list[str]:
    return [sys.executable, "-c", WORK.format(first=first, line=line) + textwrap.dedent(work)]


def in_a_log(work: str, *, line: float = 10) -> list[str]:
    """Return the lines that work prints where there is no terminal."""
    command = script(work, line=line)
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TERM": "xterm"})
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return done.stderr.splitlines()


class Terminal:
    """Work on a terminal of so many columns."""

    def __init__(
        self, work: str, columns: int = 80, first: float = 0.02, environment: Mapping[str, str] | None = None
    ) -> None:
        self.columns = columns
        self._master, slave = pty.openpty()
        self.resize(columns)
        self._process = subprocess.Popen(
            script(work, first=first, line=0.05),
            stderr=slave,
            env={**os.environ, "TERM": "xterm", **(environment or {})},
        )
        os.close(slave)
        self.sent = ""

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))

    def wait_for(self, pattern: str) -> None:
        """Read until a pattern comes behind what was read before."""
        begin = len(self.sent)
        while not re.search(pattern, self.sent[begin:]):
            assert self._read(), self.sent

    def end(self) -> list[str]:
        """Wait for the end, and return the lines that are then on the screen."""
        while self._read():
            pass
        os.close(self._master)
        assert self._process.wait() == 0, self.sent
        return Screen(self.sent, self.columns).lines

    def _read(self) -> bool:
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:
            return False
        self.sent += data.decode().replace("\r\n", "\n")
        return bool(data)

    def shown(self) -> list[str]:
        """Return what the moving line has shown, one after the other."""
        return re.findall(r"\r([^\r\n\x1b]+)\x1b\[K", self.sent)


def test_on_a_terminal_one_line_moves_and_is_gone_in_the_end() -> None:
    terminal = Terminal('with Progress(vm, "uploading a.img", total=10 << 30, done=done): time.sleep(0.5)')
    assert terminal.end() == []
    shown = terminal.shown()
    assert len(shown) > 3 and "\n" not in terminal.sent
    assert re.fullmatch(r"web: uploading a\.img, \d%, [\d.]+ [GM]iB/s, 0:\d\d left", shown[-1])


def test_in_a_log_a_line_comes_now_and_then() -> None:
    lines = in_a_log('with Progress(vm, "uploading a.img", total=1 << 30, done=done): time.sleep(0.7)', line=0.1)
    assert len(lines) >= 3
    assert all(re.fullmatch(r"web: uploading a\.img, \d+%(, .*/s, 0:00 left)?", line) for line in lines), lines


QUICK = 'with Progress(vm, "uploading a.img", total=10 << 30, done=done): time.sleep(0.1)'


def test_nothing_is_shown_of_what_is_quick() -> None:
    terminal = Terminal(QUICK, first=30)
    assert (terminal.end(), terminal.sent) == ([], "")
    assert in_a_log(QUICK) == []


def test_a_line_comes_in_a_log_although_nothing_has_changed() -> None:
    work = 'with Progress(vm, "downloading a.img", total=1 << 30, done=lambda: 1 << 29): time.sleep(0.4)'
    assert set(in_a_log(work, line=0.1)) == {"web: downloading a.img, 50%"}


def test_where_nobody_knows_what_is_done_the_time_is_shown() -> None:
    work = 'with Progress(vm, "uploading a.img", total=1 << 30, done=lambda: None): time.sleep(0.4)'
    lines = in_a_log(work, line=0.1)
    assert lines and all(re.fullmatch(r"web: uploading a\.img, 0:0\d", line) for line in lines), lines


def test_work_that_is_measured_by_time_shows_the_last_line_of_a_text_and_nothing_that_a_terminal_obeys() -> None:
    work = r"""
    note = lambda: "first\n\x1b[2J\x1b[1mUnpacking\x1b[0m\tthe \u202ebase\x9b system\r\n\n"
    with Progress(vm, "installing", seconds=7200, note=note): time.sleep(0.4)
    """
    lines = in_a_log(work, line=0.1)
    terminal = Terminal(work)
    assert terminal.end() == [] and lines and terminal.shown()
    for line in (*lines, *terminal.shown()):
        assert re.fullmatch(r"web: installing, 0:0\d of 2:00:00: Unpacking the base system", line), line


def test_what_cannot_be_asked_for_a_moment_ends_nothing() -> None:
    work = """
    def fail(): raise OSError("gone")
    with Progress(vm, "installing", seconds=60, total=fail, done=fail, note=fail): time.sleep(0.4)
    """
    lines = in_a_log(work, line=0.1)
    assert lines and all(re.fullmatch(r"web: installing, 0:0\d of 1:00", line) for line in lines), lines


MESSAGES = """
def talk(name):
    for number in range(50):
        write(f"{name}: message {number}")
        time.sleep(0.005)
with Progress(vm, "uploading a.img", total=10 << 30, done=done):
    threads = [threading.Thread(target=talk, args=(name,)) for name in "abc"]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""


def test_messages_stand_whole_above_the_moving_line() -> None:
    terminal = Terminal(MESSAGES)
    lines = terminal.end()
    assert sorted(lines) == sorted(f"{name}: message {number}" for name in "abc" for number in range(50))
    assert len(terminal.shown()) > 50


def test_what_goes_to_standard_output_stands_whole_above_it_too() -> None:
    work = """
    import os
    os.dup2(2, 1)
    with Progress(vm, "copying", done=done):
        time.sleep(0.2)
        write("an answer", 1)
        time.sleep(0.1)
    """
    terminal = Terminal(work)
    assert terminal.end() == ["an answer"] and terminal.shown()


def test_of_two_at_work_one_has_the_moving_line_and_then_the_other() -> None:
    work = """
    with Progress(vm, "second", done=done):
        with Progress(vm, "first", done=done): time.sleep(0.3)
        time.sleep(0.3)
    """
    terminal = Terminal(work)
    assert terminal.end() == []
    whose = [re.findall("first|second", line) for line in terminal.shown()]
    assert all(len(names) == 1 for names in whose)


def test_of_several_machines_at_work_each_has_lines_of_its_own() -> None:
    work = """
    moving_line.several = True
    with Progress(vm, "uploading a.img", total=1, done=lambda: 0):
        with Progress(SimpleNamespace(name="db"), "uploading b.img", total=1, done=lambda: 0): time.sleep(0.4)
    """
    terminal = Terminal(work)
    assert set(terminal.end()) == {"web: uploading a.img, 0%", "db: uploading b.img, 0%"}
    assert terminal.shown() == []


@pytest.mark.parametrize(("variable", "value"), [("TERM", "dumb"), ("VMP_PROGRESS", "0")])
def test_a_terminal_that_cannot_move_gets_lines(variable: str, value: str) -> None:
    work = 'with Progress(vm, "uploading a.img", total=1, done=lambda: 0): time.sleep(0.4)'
    terminal = Terminal(work, environment={variable: value})
    assert set(terminal.end()) == {"web: uploading a.img, 0%"} and "\x1b" not in terminal.sent


def test_the_line_fits_the_window_as_it_is_now() -> None:
    work = 'with Progress(vm, "uploading debian-12-generic.img", total=1 << 40, done=done): time.sleep(1)'
    terminal = Terminal(work)
    terminal.wait_for("left\x1b")
    terminal.resize(30)
    terminal.wait_for(r"\.\.\.")
    assert terminal.end() == []
    narrow = terminal.shown()[-1]
    assert re.fullmatch(r"web: u.*\.\.\..*\.img, 0%", narrow) and len(narrow) <= 27, narrow


def test_an_error_leaves_no_line_and_no_thread() -> None:
    work = """
    try:
        with Progress(vm, "uploading a.img", total=10 << 30, done=done):
            time.sleep(0.2)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        write(f"{threading.active_count()} thread")
    """
    assert Terminal(work).end() == ["1 thread"]


def test_a_run_that_ends_leaves_no_line_of_those_that_are_still_at_work() -> None:
    work = """
    def upload():
        with Progress(vm, "uploading a.img", done=done): time.sleep(60)
    threading.Thread(target=upload, daemon=True).start()
    time.sleep(0.2)
    moving_line.end()
    write("error: it has ended")
    time.sleep(0.1)
    """
    terminal = Terminal(work)
    assert terminal.end() == ["error: it has ended"] and terminal.shown()


def test_a_message_erases_the_line_of_a_program_that_was_lent_it() -> None:
    work = r"""
    import subprocess
    draw = ["printf", "\\r%s\\033[K", "web on far: downloading a.img, 45%"]
    with moving_line.lent() as columns:
        subprocess.run(draw, stdout=2)
        write(f"{columns} columns")
        subprocess.run(draw, stdout=2)
    """
    assert Terminal(work).end() == ["80 columns"]
    assert in_a_log("with moving_line.lent() as columns: write(str(columns))") == ["0"]


def test_who_is_told_the_columns_by_another_program_shows_a_moving_line() -> None:
    command = script('with Progress(vm, "downloading a.img", total=1, done=lambda: 0): time.sleep(0.2)')
    done = subprocess.run(command, capture_output=True, env={**os.environ, "VMP_PROGRESS": "27", "TERM": ""})
    sent = done.stderr.decode()
    assert Screen(sent, 27).lines == []
    assert "\rweb: down...ng a.img, 0%\x1b[K" in sent


READER = """
import sys
file = open(sys.argv[1], "rb", buffering=0)
for line in sys.stdin:
    if line == "close\\n":
        file.close()
    else:
        file.read(int(line))
    print(flush=True)
"""


def test_how_far_another_program_has_read_a_file_is_seen_from_outside(tmp_path: Path) -> None:
    path = tmp_path / "it's a file"
    path.write_bytes(bytes(5000))
    command = [sys.executable, "-c", READER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdin and reader.stdout
        position = ReadBy(lambda: reader.pid, str(path))
        for word, wanted in (("1000", 1000), ("2500", 3500), ("close", 3500)):
            reader.stdin.write(f"{word}\n")
            reader.stdin.flush()
            reader.stdout.readline()
            assert position() == wanted
        reader.stdin.close()
    assert position() == 3500, "what was seen last"
    assert ReadBy(lambda: None, str(path))() is None
    assert ReadBy(lambda: os.getpid(), str(path))() is None


def test_the_descriptor_that_a_program_got_from_us_tells_how_far_it_has_read(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(bytes(1 << 20))
    work = f"""
    import subprocess
    with open({str(tmp_path / "archive")!r}, "rb") as file, progress.reading(vm, "unpacking a.xz", file.fileno()):
        subprocess.run(["dd", "bs=256k", "count=1", "of=/dev/null", "status=none"], stdin=file)
        time.sleep(0.3)
    """
    assert in_a_log(work, line=0.1)[-1].startswith("web: unpacking a.xz, 25%")
