"""A decision as it lies in a file."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eir.decisions.record import COLUMNS, HEADER, RECORD_BYTES, TIME_MAX, Decision, decode, encode, matches
from eir.errors import CorruptError

A = Decision(100, "35693803564380", "432110000000001", "43211", 3, 5, 7, "00112233445566ff", "msc1")


def test_a_record_has_96_bytes_behind_a_header_of_32() -> None:
    assert (len(encode(A)), RECORD_BYTES, len(HEADER)) == (96, 96, 32)
    assert decode(encode(A)) == A


@given(st.text(max_size=70), st.text(max_size=70), st.text(max_size=6), st.text(max_size=64))
def test_whatever_a_phone_sends_is_kept_as_far_as_it_fits(
    imei: str, imsi: str, plmn: str, client: str
) -> None:
    read = decode(encode(A._replace(imei=imei, imsi=imsi, serving_plmn=plmn, client=client)))
    assert read[4:8] == A[4:8]
    if imei.isascii() and imei.isprintable() and imei == imei.strip():
        assert read.imei == imei[:16].upper()


def test_what_a_phone_sends_commands_no_terminal() -> None:
    sent = A._replace(imei="\x1b[2J", imsi="1\r2\n3", client="mme\u202e\x9b1m")
    read = decode(encode(sent))
    assert (read.imei, read.imsi, read.client) == ("\ufffd[2J", "1\ufffd2\ufffd3", "mme\ufffd\ufffd1m")


@pytest.mark.parametrize("time", [-1, TIME_MAX + 1])
def test_a_time_out_of_range_is_kept_at_its_end(time: int) -> None:
    assert decode(encode(A._replace(time=time))).time == min(max(time, 0), TIME_MAX)


@pytest.mark.parametrize("place", [0, 4, 20, 95])
def test_a_changed_byte_is_noticed(place: int) -> None:
    data = bytearray(encode(A))
    data[place] ^= 1
    with pytest.raises(CorruptError):
        decode(bytes(data))
    with pytest.raises(CorruptError):
        decode(encode(A)[:-1])


def test_records_are_found_by_imei_imsi_and_time() -> None:
    given_ = [
        A,
        A._replace(imei="356938035643801"),
        A._replace(imei="3569380356438099"),
        A._replace(imei="35693803564381"),
        A._replace(imei="25693803564380"),
        A._replace(imsi="1", time=200),
        A._replace(imei="be*f"),
        A._replace(imei=""),
        A._replace(imei="3569380356438"),
    ]
    block = np.frombuffer(b"".join(map(encode, given_)), COLUMNS)

    def found(imei: str, imsi: str = "", since: int = 0, until: int = 1000) -> list[int]:
        return matches(block, imei, imsi, since, until).tolist()

    assert found("35693803564380") == [0, 1, 2, 5]
    assert found("35693803564380", A.imsi) == [0, 1, 2]
    assert found("35693803564380", since=100, until=199) == [0, 1, 2]
    assert found("35693803564380", since=101, until=200) == [5]
    assert found("BE*F") == [6]
    assert found("3569380356438") == [8]
