"""What gpgv and sqv say of a signature, and what is made of it. Each status was printed by gpgv 2.2.40 and 2.4.7."""

from __future__ import annotations

import pytest

from vmp.provisioners.v1alpha1.runtime.signature import Bad, good_key, good_key_of_sqv

A, B = "A" * 40, "B" * 40


def good(key: str) -> str:
    valid = f"[GNUPG:] VALIDSIG {key} 2026-12-01 1796093728 0 4 0 22 8 00 {key}\n"
    return f"[GNUPG:] NEWSIG a@x\n[GNUPG:] GOODSIG {key[:16]} a <a@x>\n{valid}"


def with_word(word: str, key: str) -> str:
    return good(key).replace("GOODSIG", word)


def unknown(key: str) -> str:
    error = f"[GNUPG:] ERRSIG {key[:16]} 22 8 00 1796093728 9 {key}\n"
    return f"[GNUPG:] NEWSIG\n{error}[GNUPG:] NO_PUBKEY {key[:16]}\n"


def bad(key: str) -> str:
    return f"[GNUPG:] NEWSIG\n[GNUPG:] BADSIG {key[:16]} a <a@x>\n"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (good(A), 0),
        (good(A) + good(B), 0),
        (good(A) + unknown(B), 2),
        (unknown(B) + good(A), 2),
        (with_word("EXPKEYSIG", B) + good(A), 0),
        (good(A) + with_word("REVKEYSIG", B), 0),
    ],
)
def test_one_good_signature_is_enough(status: str, code: int) -> None:
    assert good_key(status, "", code) == A


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (bad(A), 1, "it is of another file, or the file has been changed since"),
        (good(A) + bad(B), 1, "it is of another file"),
        (good(A) + bad(B), 0, "it is of another file"),
        (bad(B) + good(A), 1, "it is of another file"),
        (with_word("EXPKEYSIG", A), 0, f"its key {A} has expired"),
        (with_word("REVKEYSIG", A), 0, f"its key {A} has been revoked"),
        (with_word("EXPSIG", A), 1, "the signature has expired"),
        (unknown(A), 2, f"it is made with the key {A}, which is not among those that the registry names"),
        (f"[GNUPG:] ERRSIG {A[:16]} 1 1 00 1796093728 5 {A}\n", 2, f"gpgv cannot check what the key {A} has signed"),
        (f"[GNUPG:] ERRSIG {A[:16]} 1 1 00 1796093728 5 -\n", 2, f"gpgv cannot check what the key {A[:16]} has signed"),
        (good(A).split("[GNUPG:] VALIDSIG")[0], 0, "gpgv found no good signature"),
        (good(A).replace("GOODSIG", "SOMETHING"), 0, "gpgv found no good signature"),
        (good(A), -11, "gpgv found no good signature (exit code -11)"),
        (good(A), 1, "gpgv found no good signature"),
        ("", 0, "gpgv found no good signature"),
        (good(A).replace("[GNUPG:] GOODSIG", "[GNUPG:] KEYEXPIRED 1\n[GNUPG:] EXPKEYSIG"), 0, "has expired"),
        (f"[GNUPG:] EXPKEYSIG {A[:16]} GOODSIG [GNUPG:] GOODSIG <a@x>\n" + good(A).split("\n")[2], 0, "has expired"),
    ],
)
def test_everything_else_is_no_good_signature(status: str, code: int, words: str) -> None:
    with pytest.raises(Bad) as found:
        good_key(status, "what gpgv says", code)
    assert words in str(found.value)


def test_of_sqv_the_exit_code_and_the_fingerprints_count() -> None:
    assert good_key_of_sqv(f"{A}\n", "", 0, b"") == A
    for output, code in ((f"{A}\n", 1), ("", 0), ("good\n", 0), (f"{A}\n", -9)):
        with pytest.raises(Bad, match="sqv found no good signature of this file"):
            good_key_of_sqv(output, "", code, b"")
    with pytest.raises(Bad, match=f"it is made with the key {B}, which is not among"):
        good_key_of_sqv("", f"Missing key {B}, which is needed to verify signature.\n", 1, b"")
