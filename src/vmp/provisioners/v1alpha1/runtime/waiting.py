"""Waiting until the guest can be used: an address, then SSH, then cloud-init.

There is always a deadline, which bounds every call of another program too, and always a reason when it passes.
"""

from __future__ import annotations

import time

from .address import Address, find_address
from .console import console_tail
from .conversation import Lost
from .facts import Vm
from .libvirt import domain_state, look_at_domain
from .look import still_to_install
from .programs import Ended, run_program
from .say import Problem, printable
from .ssh import check_ssh, ssh_command
from .virsh import Virsh

_NO_CONNECTION = (255, 124)


class Waiting:
    """One wait, from its begin to its deadline."""

    def __init__(self, vm: Vm, virsh: Virsh) -> None:
        self.vm = vm
        self.virsh = virsh
        self.stage = "an address"
        self.address = Address("", [])
        self.ssh = Ended(255, "", "", False)
        self._begin = time.monotonic()
        self._said = ""
        self._said_at = 0.0
        self._said_stage = ""
        self._answered = False
        self._libvirt_answers = True

    @property
    def passed(self) -> int:
        """Return the seconds that have passed."""
        return int(time.monotonic() - self._begin)

    @property
    def left(self) -> float:
        """Return the seconds that are left."""
        return self.vm.knobs.ready_timeout - (time.monotonic() - self._begin)

    def wait(self, stage: str) -> None:
        """Wait for a stage: ip, ssh or all."""
        self._refuse_installer()
        while not self._find_address():
            self._again("\n".join(self.address.reasons))
        if stage == "ip":
            self.vm.say(f"address {self.address.ip}")
            return
        self.stage = "SSH"
        while not self._try_ssh("true"):
            self._again_for_connection()
        if stage == "ssh" or not self.vm.seed:
            self.vm.say(f"ready: SSH answers at {self.address.ip}")
            return
        self.stage = "cloud-init"
        while not self._cloud_init_is_ready():
            if self.ssh.code in _NO_CONNECTION:
                self._again_for_connection()
            else:
                self._again(self._words() or f"exit code {self.ssh.code}")
        self.vm.say(f"ready at {self.address.ip}")

    def _refuse_installer(self) -> None:
        """Refuse to take an installer, which may have an address and SSH, for the system."""
        self.virsh.seconds = self._bound(self.vm.knobs.command_timeout)
        try:
            domain = look_at_domain(self.virsh, self.vm.domain)
        except Problem:
            return  # libvirt may answer later
        if domain and domain.phase:
            raise still_to_install(self.vm, domain)

    def _find_address(self) -> bool:
        """Find the address. Without a running domain there is nothing to wait for."""
        self.virsh.seconds = self._bound(self.vm.knobs.command_timeout)
        before = self.address
        try:
            found = find_address(self.vm, self.virsh, self.virsh.seconds)
            given = bool(self.vm.knobs.ssh_host or self.vm.knobs.ip_cmd)  # which say nothing of the domain
            state = domain_state(self.virsh, self.vm.domain.uuid) if given else found.state
        except Problem as error:
            self._libvirt_answers = not isinstance(error, Lost)
            self.address = Address(before.ip, [str(error)], before.state)
            return False
        self._libvirt_answers = True
        if not state:
            raise Problem("not ready: the domain does not exist", "'make up' makes and starts it")
        if state in ("shut off", "crashed"):
            raise Problem(f"not ready: the domain is {state}", "'make up' makes and starts it")
        self.address = Address(found.ip or before.ip, found.reasons, state)
        return bool(found.ip)

    def _try_ssh(self, command: str) -> bool:
        connect = self.vm.knobs.connect_timeout
        bound = self._bound(connect + 30)
        batch = "no" if self.vm.ssh and self.vm.ssh.password else "yes"
        options = ["-n", "-o", f"BatchMode={batch}", "-o", f"ConnectTimeout={connect}"]
        options += ["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]
        words, environment = ssh_command(self.vm, self.address.ip, command, *options)
        self.ssh = run_program(words, bound, own_group=True, environment_=environment)
        if self.ssh.timed_out:
            errors = f"{self.ssh.errors}\nssh took longer than {bound} seconds and was ended".strip()
            self.ssh = Ended(124, self.ssh.output, errors, True)
        if self.ssh.code == 0:
            self._answered = True
        return self.ssh.code == 0

    def _words(self) -> str:
        return (self.ssh.output + self.ssh.errors).strip("\n")

    def _again_for_connection(self) -> None:
        """SSH does not answer; the guest may have another address by now."""
        words, address = self._words(), self.address.ip
        if "REMOTE HOST IDENTIFICATION HAS CHANGED" in words or "Host key verification failed" in words:
            raise Problem(
                f"the host key of {address} is not the one in known_hosts",
                words,
                "if the guest was installed anew, delete known_hosts",
            )
        if "Too many authentication failures" in words:
            raise Problem(
                f"the guest at {address} refuses to go on: ssh has offered it more keys than it takes",
                words,
                "say which key it takes, in ssh.options: IdentityFile, and IdentitiesOnly: 'yes'",
            )
        reason = f"address {address}: {words or f'exit code {self.ssh.code} of ssh'}"
        self._find_address()
        if self.address.state == "paused":
            reason += f"\nthe domain is paused; '{self.vm.make} start' resumes it"
        self._again(reason)

    def _again(self, reason: str) -> None:
        """Pause, or end when the deadline has passed."""
        if self.left <= 0:
            raise self._failure(reason)
        self._say(reason)
        time.sleep(max(0.0, min(self.vm.knobs.interval, self.left)))

    def _say(self, reason: str) -> None:
        """Say why we wait: when a stage begins, when the reason changes (not every second), and from time to time."""
        since = time.monotonic() - self._said_at
        if self._said_stage == self.stage and since < 30 and (reason == self._said or since < 5):
            return
        self._said, self._said_at, self._said_stage = reason, time.monotonic(), self.stage
        self.vm.say(f"waiting for {self.stage} ({self.passed} of {self.vm.knobs.ready_timeout} seconds): {reason}")

    def _bound(self, seconds: int) -> int:
        """Return the smaller of the seconds (0: none) and what is left."""
        left = max(1, int(self.left + 0.999))
        return left if seconds == 0 else min(seconds, left)

    def _failure(self, reason: str) -> Problem:
        """Return the error, with all that may help to find out why."""
        hints = [reason]
        if self.stage != "an address" and self.address.reasons:
            hints += ["what is known of its address:", *self.address.reasons]
        log = self._cloud_init_log() if self._answered else ""
        if log:
            hints += ["the end of cloud-init's output:", log]
        if self._libvirt_answers and self.address.state:
            self.virsh.seconds = 4
            hints += console_tail(self.vm, self.virsh)
        return Problem(f"not ready after {self.passed} seconds, waiting for: {self.stage}", *hints)

    def _cloud_init_is_ready(self) -> bool:
        """Ask cloud-init (https://cloudinit.readthedocs.io/en/latest/reference/cli.html#status).

        Exit code 2 means done, with errors that it recovered from.
        """
        self._try_ssh("cloud-init status --long")
        code, words = self.ssh.code, self._words()
        lines = self.ssh.output.splitlines()
        if code in _NO_CONNECTION or code < 0:
            return False
        if code in (126, 127):
            raise Problem("cloud-init is not installed in the guest", words)
        if any(line.startswith(("status: running", "status: not ")) for line in lines):
            return False
        if any(line.startswith("status: disabled") for line in lines):
            self.vm.say("warning: cloud-init is disabled in the guest: the seed was not used")
            return True
        if any(line.startswith("status: error") for line in lines):
            raise self._cloud_init_failure("cloud-init failed in the guest", words)
        if code == 0:
            return "status:" in self.ssh.output
        if code == 2:
            self.vm.say(f"warning: cloud-init is done, but had to recover from errors:\n{words}")
            return True
        raise self._cloud_init_failure(f"cloud-init failed in the guest (exit code {code})", words)

    def _cloud_init_failure(self, message: str, status: str) -> Problem:
        log = self._cloud_init_log()
        return Problem(message, status, *(["the end of cloud-init's output:", log] if log else []))

    def _cloud_init_log(self) -> str:
        command = "tail -n 20 cloud-init-output.log"
        self._try_ssh(f"cd /var/log; {command} 2>/dev/null || sudo -n {command}")
        return printable(self._words()) if self.ssh.code == 0 else ""


def wait_ready(vm: Vm, virsh: Virsh, stage: str) -> None:
    """Wait for a stage: ip, ssh or all."""
    check_ssh(vm)
    Waiting(vm, virsh).wait(stage)
