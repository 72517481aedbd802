"""Which decisions are kept."""

import pytest

from eir.decisions.keep import DAY_SECONDS, Keep, place, repeat_key, sample_hash, wanted
from eir.verdict import Reason, Status

W, G, B, U = Status.WHITELISTED, Status.GREYLISTED, Status.BLACKLISTED, Status.UNKNOWN
IMEI, IMSI = "35693803564380", "432110000000001"


@pytest.mark.parametrize(
    ("judged", "told", "reason", "keep"),
    [
        (B, B, Reason.BLOCKED_STOLEN, Keep.EVERY),
        (U, B, Reason.UNDECIDED, Keep.EVERY),  # the client's status map denies
        (W, W, Reason.OVERRIDE, Keep.FIRST),
        (W, W, Reason.EXEMPT_PAIR_BLOCKED, Keep.FIRST),
        (G, G, Reason.NOT_REGISTERED, Keep.FIRST),
        (G, W, Reason.NOT_REGISTERED, Keep.FIRST),  # grey, though the client is told white
        (U, U, Reason.UNDECIDED, Keep.FIRST),
        (G, G, Reason.SPECIAL_ZERO, Keep.FIRST_IMEI),
        (G, G, Reason.MALFORMED_EMPTY, Keep.FIRST_IMEI),
        (W, W, Reason.OWNER, Keep.SAMPLE),
        (W, W, Reason.EMERGENCY, Keep.SAMPLE),
        (W, W, Reason.INBOUND_ROAMER, Keep.SAMPLE),
    ],
)
def test_the_table_says_how_often(judged: int, told: int, reason: int, keep: Keep) -> None:
    assert wanted(0).table[place(judged, told, reason)] == keep


def test_every_denial_is_wanted_whatever_the_sample() -> None:
    rule = wanted(0)
    assert all(rule.keep(judged, B, reason, IMEI, IMSI) for judged in Status for reason in Reason)
    assert not rule.keep(W, W, Reason.OWNER, IMEI, IMSI)


def test_a_sample_is_of_pairs_and_about_as_large_as_asked_for() -> None:
    pairs = [(f"3569380{serial:07d}", f"43211{serial * 7:010d}") for serial in range(20_000)]
    rule = wanted(5)
    chosen = {pair for pair in pairs if rule.keep(W, W, Reason.OWNER, *pair)}
    assert len(chosen) == pytest.approx(1000, rel=0.2)
    assert chosen == {pair for pair in pairs if rule.keep(W, W, Reason.UTILIZER, *pair)}
    everything = wanted(100)
    assert all(everything.keep(W, W, Reason.OWNER, *pair) for pair in pairs)


def test_the_spellings_of_an_imei_are_one_pair() -> None:
    assert sample_hash(IMEI, IMSI) == sample_hash(IMEI + "0", IMSI) == sample_hash(IMEI + "12", IMSI)
    assert sample_hash("123456789", "") == 0xE3069283, (
        "the check value of CRC32C: other engines have the same"
    )
    assert sample_hash(IMEI, "") != sample_hash(IMEI, IMSI)


def test_a_denial_repeats_within_its_seconds_and_all_else_within_its_day() -> None:
    def key(time: int, status: int, reason: int, imsi: str = IMSI, imei: str = IMEI, seconds: int = 600):
        return repeat_key(time, imei, imsi, status, reason, seconds)

    stolen, grey = Reason.BLOCKED_STOLEN, Reason.NOT_REGISTERED
    assert key(0, B, stolen) == key(599, B, stolen) != key(600, B, stolen)
    assert key(0, B, stolen, seconds=0) is None
    assert key(0, G, grey) == key(DAY_SECONDS - 1, G, grey) != key(DAY_SECONDS, G, grey)
    assert key(0, G, grey) == key(0, G, grey, imei=IMEI + "0") != key(0, G, grey, imsi="2")
    assert key(0, G, grey) != key(0, B, grey)
    zeros = "00000000000000"
    assert key(0, G, Reason.SPECIAL_ZERO, imei=zeros) == key(0, G, Reason.SPECIAL_ZERO, "2", zeros)
