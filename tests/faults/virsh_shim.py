"""Stands before virsh, as shim.sh does before all other commands: each command of a conversation can go wrong.

Started by shim.sh once virsh itself has been counted: `virsh_shim.py REAL ARGUMENT…`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from between import Between, command_of, mark_of

DIRECTORY = Path(os.environ["FAULT_DIR"])
MODE = os.environ["FAULT_MODE"]


def count(command: str) -> bool:
    """Write down a call; tell whether it is the one that goes wrong."""
    number = 1
    while True:
        try:
            os.close(os.open(DIRECTORY / "calls" / f"{command} {number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            break
        except FileExistsError:
            number += 1
    with (DIRECTORY / "log").open("a") as log:
        log.write(f"{command} {number}\n")
    return f"{os.environ['FAULT_COMMAND']} {os.environ['FAULT_NTH']}" == f"{command} {number}"


def hit() -> None:
    """The fault happens now."""
    (DIRECTORY / "hit").touch()


def slay() -> None:
    """Kill whom nobody asks. What is in another process group lives on."""
    hit()
    os.killpg(int(os.environ["FAULT_GROUP"]), signal.SIGKILL)


def hang() -> None:
    hit()
    time.sleep(1000)


def end_daemon() -> None:
    """libvirtd dies as well as a process can."""
    os.kill(int(Path("/run/libvirtd.pid").read_text()), signal.SIGKILL)
    time.sleep(0.1)
    hit()


def pause() -> None:
    """The test does something meanwhile."""
    hit()
    while not (DIRECTORY / "go").exists():
        time.sleep(0.005)


def part(line: bytes) -> bytes:
    """Return the line as it is; but of an upload only a part comes, and then silence, as from a slow disk."""
    words = command_of(line.decode())
    if words[0] != "vol-upload":
        return line
    file = next(word.partition("=")[2] for word in words if word.startswith("--file="))
    size = os.path.getsize(file)
    size = size - 1 if MODE == "kill-at-end" else size // 2
    fifo = DIRECTORY / "fifo"
    os.mkfifo(fifo)
    wait = 'until [ -e "$2/hit" ]; do /bin/sleep 0.05; done' if MODE == "daemon-during" else "exec /bin/sleep 1000"
    script = f'{{ /usr/bin/head -c {size} "$1"; {wait}; }} >"$3"'
    subprocess.Popen(["/bin/sh", "-c", script, "sh", file, str(DIRECTORY), str(fifo)], stdin=subprocess.DEVNULL)
    return line.replace(f"'--file={file}'".encode(), f"'--file={fifo}'".encode()).replace(b"'--sparse'", b"")


def main(real: str, arguments: list[str]) -> int:
    between = Between(arguments, real)

    def judge(line: bytes, words: list[str]) -> bytes | None:
        if not count(f"virsh {words[0]}"):
            return line
        if MODE in ("kill-during", "kill-at-end", "daemon-during", "stall-during"):
            if MODE == "stall-during":
                hit()
            between.say(part(line))
            if MODE == "stall-during":
                return None
            time.sleep(float(os.environ["FAULT_DELAY"]))
            if MODE == "daemon-during":
                end_daemon()
            else:
                slay()
            return None
        if MODE == "pause-before":
            pause()
            return line
        if MODE == "nonsense":
            hit()
            return mark_of(line).rstrip(b"\n") + b" ; echo '" + os.environb[b"FAULT_NONSENSE"] + b"'\n"
        if MODE == "fail-before":
            hit()
            os.write(2, b"error: a fault on purpose\n")
            return mark_of(line)
        between.say(line)
        between.wait()
        if MODE == "kill-after":
            slay()
        elif MODE == "lost-after":
            hit()
            os.write(2, b"error: Disconnected from qemu:///system due to end of file\n")
            between.virsh.terminate()
            os._exit(1)
        elif MODE == "hang-after":
            hang()
        return None

    return between.converse(judge)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
