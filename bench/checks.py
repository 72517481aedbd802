"""Checks of a population as messages, and which verdicts they may get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.population import CheckClass, Population
from bench.subscribers import HOME_NETWORKS
from eir.identity import imei_text, imsi_text
from eir.proto import check_pb2
from eir.verdict import Reason

SERVICE = check_pb2.DESCRIPTOR.services_by_name["EquipmentCheckService"].full_name
UNARY = f"/{SERVICE}/CheckEquipment"
STREAM = f"/{SERVICE}/StreamCheckEquipment"
BATCH = f"/{SERVICE}/BatchCheckEquipment"

_LINKED = {Reason.BLOCKED_LINKED}
ALLOWED: dict[CheckClass, set[Reason]] = {
    CheckClass.MATCH: {Reason.OWNER} | _LINKED,
    CheckClass.WRONG_IMSI: {Reason.OWNED_BY_OTHER, Reason.OTHER_SLOT} | _LINKED,
    CheckClass.REGISTERED_ONLY: {Reason.NEVER_ACTIVATED, Reason.UNOWNED_SLOT, Reason.OTHER_SLOT} | _LINKED,
    CheckClass.UNREGISTERED: {Reason.NOT_REGISTERED},
}
"""Reasons under the shipped policy, of subscribers of the home networks; what has more is not judged here."""


@dataclass(frozen=True)
class Checks:
    """Checks of subscribers of the home networks: texts, and the class of each."""

    imei: list[str]
    imsi: list[str]
    expected: list[CheckClass]

    @classmethod
    def sample(cls, population: Population, count: int, seed: int) -> Checks:
        """Draw checks; those of foreign and odd IMSIs are left out."""
        drawn = population.sample_checks(count, seed)
        imsi = [imsi_text(code) for code in drawn.imsi.tolist()]
        home = np.array([len(text) == 15 and text.startswith(HOME_NETWORKS) for text in imsi])
        rows = np.flatnonzero(home).tolist()
        keys, expected = drawn.imei.tolist(), drawn.expected.tolist()
        return cls(
            [imei_text(keys[row]) for row in rows],
            [imsi[row] for row in rows],
            [CheckClass(expected[row]) for row in rows],
        )

    def requests(self) -> list[check_pb2.CheckEquipmentRequest]:
        """Messages, one a check."""
        return [
            check_pb2.CheckEquipmentRequest(imei=imei, imsi=imsi)
            for imei, imsi in zip(self.imei, self.imsi, strict=True)
        ]

    def batches(self, rows: int) -> list[bytes]:
        """Messages of so many checks each, serialized; what is left over goes."""
        return [
            check_pb2.BatchCheckEquipmentRequest(
                imei=self.imei[at : at + rows], imsi=self.imsi[at : at + rows]
            ).SerializeToString()
            for at in range(0, len(self.imei) - rows + 1, rows)
        ]

    def verify(self, reasons: Sequence[int]) -> None:
        """Raise RuntimeError when verdicts are not what the population says; the first so many are given."""
        wrong = [
            f"{cls.name}: {Reason(reason).name}"
            for cls, reason in zip(self.expected[: len(reasons)], reasons, strict=True)
            if cls in ALLOWED and reason not in ALLOWED[cls]
        ]
        if wrong:
            raise RuntimeError(f"{len(wrong)} of {len(reasons)} verdicts are wrong: {', '.join(wrong[:5])}")
