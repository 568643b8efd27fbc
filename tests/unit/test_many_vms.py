"""What the provisioner does with many VMs at once, without libvirt: work in threads, and answers that are shared."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from vmp.provisioners.v1alpha1.runtime.domain_xml import Answers
from vmp.provisioners.v1alpha1.runtime.fleet import at_once
from vmp.provisioners.v1alpha1.runtime.say import Problem


def test_each_piece_of_work_is_done_once_and_no_more_than_allowed_at_a_time() -> None:
    done: list[int] = []
    at_work = threading.Semaphore(3)

    def piece(number: int) -> None:
        assert at_work.acquire(blocking=False), "a fourth piece was begun"
        done.append(number)
        at_work.release()

    at_once([partial(piece, number) for number in range(200)], 3)
    assert sorted(done) == list(range(200))


def test_an_error_ends_the_work_and_is_raised() -> None:
    done: list[int] = []

    def piece(number: int) -> None:
        if number == 3:
            raise Problem("the third one")
        done.append(number)

    with pytest.raises(Problem, match="the third one"):
        at_once([partial(piece, number) for number in range(100)], 1)
    assert done == [0, 1, 2]


def own(number: int) -> dict[str, str]:
    """Return the own words of a machine with twelve interfaces, as they stand in virt-install's answer."""
    macs = {f"52:54:00:00:{number:02x}:{mac:02x}": f"vmp-own-mac-{mac}-" for mac in range(12)}
    return {f"web-{number}": "vmp-own-name-", f"00000000-0000-4000-8000-{number:012}": "vmp-own-uuid-", **macs}


def answer(number: int) -> str:
    name, uuid, *macs = own(number)
    interfaces = "".join(f'<interface><mac address="{mac}" /></interface>' for mac in macs)
    return f"<domain><name>{name}</name><uuid>{uuid}</uuid><devices>{interfaces}</devices></domain>"


def test_a_third_machine_takes_what_two_were_told_with_its_own_words_in_it() -> None:
    answers = Answers()
    answers.give("question", answer(1), own(1))
    assert answers.take("question", own(3)) is None, "one answer is no proof"
    answers.give("question", answer(2), own(2))
    assert answers.take("question", own(3)) == answer(3)
    assert answers.take("another question", own(3)) is None


def test_nothing_is_taken_where_two_were_told_different_things() -> None:
    answers = Answers()
    answers.give("question", answer(1), own(1))
    answers.give("question", answer(2).replace("<devices>", "<devices><rng />"), own(2))
    assert answers.take("question", own(3)) is None
