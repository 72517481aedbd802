"""Rows of deltas in words."""

import pytest

from eir.decisions.words import told
from eir.identity import imsi_code
from eir.whitelist.operation import Operation
from eir.whitelist.rows import BlockCause, ExemptCause, Op, Role

KEY = 35693803564380
IMEI = "IMEI 35693803564380"
SIM, NEW = imsi_code("432110000000001"), imsi_code("432110000000002")


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        (Operation(Op.REGISTER, KEY), "IMEI 35693803564380 was registered"),
        (
            Operation(Op.DEREGISTER, KEY, imei_last=KEY + 9),
            "the range 35693803564380 to 35693803564389 was deregistered",
        ),
        (
            Operation(Op.BLOCK, KEY, cause=BlockCause.STOLEN, name="police"),
            "IMEI 35693803564380 was blocked as stolen by police",
        ),
        (
            Operation(Op.UNBLOCK, KEY, cause=BlockCause.LOST),
            "IMEI 35693803564380 was no longer blocked as lost by an authority without name",
        ),
        (Operation(Op.TRACK, "BE*F"), "IMEI BE*F was put on the grey list"),
        (Operation(Op.UNTRACK, KEY), "IMEI 35693803564380 was taken off the grey list"),
        (
            Operation(Op.PAIR, KEY, imsi=NEW, former_imsi=SIM, cause=Role.OWNER),
            f"{IMEI} was paired with IMSI 432110000000002 as owner, in the place of IMSI 432110000000001",
        ),
        (Operation(Op.UNPAIR, KEY, imsi=SIM), "IMEI 35693803564380 was unpaired with IMSI 432110000000001"),
        (
            Operation(Op.REPLACE_SIM, former_imsi=SIM, imsi=NEW),
            "IMSI 432110000000001 was replaced by IMSI 432110000000002",
        ),
        (
            Operation(Op.EXEMPT, KEY, imsi=SIM, cause=ExemptCause.TRAVELLER, time=1_700_000_000),
            f"{IMEI} was exempted with IMSI 432110000000001 as traveller until 2023-11-14 22:13:20 UTC",
        ),
        (
            Operation(Op.EXEMPT, imsi=SIM, cause=ExemptCause.M2M),
            "IMSI 432110000000001 was exempted as m2m without end",
        ),
        (Operation(Op.UNEXEMPT, imsi=SIM), "IMSI 432110000000001 was no longer exempted"),
        (
            Operation(Op.GRANDFATHER, KEY, imsi=SIM),
            "IMEI 35693803564380 was grandfathered with IMSI 432110000000001",
        ),
        (Operation(Op.UNGRANDFATHER, KEY), "IMEI 35693803564380 was no longer grandfathered"),
        (
            Operation(Op.LINK, KEY, imei_other=KEY + 1),
            "IMEI 35693803564380 was linked with IMEI 35693803564381",
        ),
        (
            Operation(Op.UNLINK, KEY, imei_other=KEY + 1),
            "IMEI 35693803564380 was unlinked from IMEI 35693803564381",
        ),
        (Operation(Op.SUBSCRIBER, imsi=SIM, time=1989), "the number of IMSI 432110000000001 was set"),
        (Operation(Op.TAC, 35693803, name="phone"), "the TAC 35693803 was set to phone"),
    ],
)
def test_every_row_has_a_sentence(operation: Operation, text: str) -> None:
    assert told(operation) == text


def test_every_operation_is_told() -> None:
    for op in Op:
        assert told(Operation(op, KEY, imei_other=KEY, imsi=SIM, former_imsi=SIM, cause=1))
