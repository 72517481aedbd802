"""Answers inquiries: finds what was asked for, and puts the answer together.

It reads one generation for the whole of an answer, and registry.db by a
connection of its own. One thread at a time looks up, another one searches the
journal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from eir.check import Checker, Published, Verdict
from eir.clock import monotonic
from eir.errors import InvalidRequestError
from eir.identity import (
    ImeiClass,
    TypedImei,
    imei_15,
    imei_text,
    imsi_code,
    imsi_text,
    special_class,
    typed_imei,
    typed_imsi,
    typed_msisdn,
)
from eir.inquiry import history, slots
from eir.inquiry.slots import Names
from eir.proto import inquiry_pb2
from eir.whitelist import imsi_index
from eir.whitelist.items import CODE_MASK, Item, unpack
from eir.whitelist.journal import Journal, NameKind
from eir.whitelist.operation import Imei, message
from eir.whitelist.schema import Subscriber
from eir.whitelist.tables import Generation

_JUDGED_AGAIN_MAX: Final = 3
"""Times an answer is made anew because a delta came between the tables and the judgement."""


@dataclass(frozen=True)
class Bounds:
    """Bounds of an answer."""

    slots_max: int = 100
    sims_max: int = 16
    history_rows_max: int = 500
    history_seconds_max: float = 1.0


class Inquirer:
    """Answers from the tables that are published."""

    def __init__(
        self,
        store: Published,
        registry: Path,
        checker: Callable[[], Checker],
        clock: Callable[[], int],
        country_code: str = "",
        bounds: Bounds | None = None,
    ) -> None:
        """Open `registry` for reading beside its writer. Raises StorageError, StateDamagedError."""
        self._store, self._checker, self._clock = store, checker, clock
        self._country_code, self._bounds = country_code, bounds or Bounds()
        self._journal = Journal.open(registry, read_only=True)
        self._searched = Journal.open(registry, read_only=True)
        self._names = Names(self._authority, self._device_type, self._subscriber)

    def close(self) -> None:
        """Close the connections."""
        self._journal.close()
        self._searched.close()

    # -- what was asked for -----------------------------------------------------------------------

    def imei(self, text: str, *, raw: bool) -> TypedImei:
        """Read an IMEI as it was typed. Raises InvalidRequestError."""
        try:
            typed = typed_imei(text, raw=raw)
        except ValueError as error:
            raise InvalidRequestError("imei", str(error)) from None
        return typed

    def imsi(self, text: str) -> int:
        """Read an IMSI as it was typed. Raises InvalidRequestError."""
        try:
            return typed_imsi(text)
        except ValueError as error:
            raise InvalidRequestError("imsi", str(error)) from None

    def msisdn(self, text: str) -> int:
        """Read an MSISDN as it was typed. Raises InvalidRequestError."""
        try:
            return typed_msisdn(text, self._country_code)
        except ValueError as error:
            raise InvalidRequestError("msisdn", str(error)) from None

    # -- names ------------------------------------------------------------------------------------

    def _authority(self, number: int) -> str:
        known = self._journal.names(NameKind.AUTHORITY)
        if number >= len(known):  # it came with a delta since
            known = self._journal.names(NameKind.AUTHORITY, again=True)
        return known[number]

    def _device_type(self, number: int) -> str:
        return self._store.device_types[number] if number else ""

    def _subscriber(self, code: int) -> Subscriber | None:
        return self._journal.subscribers([code]).get(code)

    # -- answers ----------------------------------------------------------------------------------

    def equipment(self, typed: TypedImei, imsi: int) -> inquiry_pb2.InquireEquipmentResponse:
        """Tell everything of an IMEI; `imsi` is a code to judge it with, 0 for none."""
        imei = _imei_of(typed)
        asked = [imsi_text(imsi)] if imsi else []
        for _ in range(_JUDGED_AGAIN_MAX):
            generation, now, checker = self._store.generation, self._clock(), self._checker()
            slot = slots.slot_of(generation, imei, self._names, now)
            imsis = list(dict.fromkeys(["", *asked, *slots.standing_imsis(slot)]))
            verdicts = checker.check_batch([_checked_imei(imei)] * len(imsis), imsis, "")
            if verdicts[0].serial == generation.serial:  # else a delta came in between
                break
        others = generation.links(imei) if isinstance(imei, int) else ()
        return inquiry_pb2.InquireEquipmentResponse(
            slot=slot,
            other_slots=[slots.slot_of(generation, other, self._names, now) for other in others],
            judgements=map(_judgement, imsis, verdicts),
            check_digit_wrong=typed.check_digit_wrong,
            serial=generation.serial,
            stale=checker.stale,
            imsi_exemptions=[
                exemption
                for text in imsis[1:]
                for exemption in slots.imsi_exemptions(generation, imsi_code(text), now)
            ],
        )

    def subscriber(self, imsi: int = 0, msisdn: int = 0) -> inquiry_pb2.InquireSubscriberResponse:
        """Tell where the SIMs of a subscriber stand, by IMSI code or MSISDN code."""
        for _ in range(_JUDGED_AGAIN_MAX):
            generation, checker = self._store.generation, self._checker()
            sims, serial = [], generation.serial
            for code in self._codes(imsi, msisdn):
                sim, judged_at = self._sim(generation, checker, code)
                serial = judged_at if judged_at != generation.serial else serial
                if sim.slots or sim.exemptions or sim.msisdn:
                    sims.append(sim)
            if serial == generation.serial:
                break
        return inquiry_pb2.InquireSubscriberResponse(sims=sims, serial=generation.serial, stale=checker.stale)

    def _codes(self, imsi: int, msisdn: int) -> list[int]:
        """IMSI codes of a subscriber."""
        if not msisdn:
            return [imsi]
        return [one.imsi for one in self._journal.subscribers_of(msisdn, self._bounds.sims_max)]

    def _sim(self, generation: Generation, checker: Checker, code: int) -> tuple[inquiry_pb2.Sim, int]:
        """Tell what is known of one IMSI, and the serial that its slots were judged at."""
        now, imsi, subscriber = self._clock(), imsi_text(code), self._subscriber(code)
        imeis = [imei for imei in _imeis_of(generation, code) if _stands(generation, imei, code)]
        shown = imeis[: self._bounds.slots_max]
        verdicts = checker.check_batch([_checked_imei(imei) for imei in shown], [imsi] * len(shown), "")
        sim = inquiry_pb2.Sim(
            imsi=imsi,
            msisdn=imsi_text(subscriber.msisdn) if subscriber else "",
            language=subscriber.language if subscriber else "",
            exemptions=slots.imsi_exemptions(generation, code, now),
            slot_count=len(imeis),
        )
        for imei, verdict in zip(shown, verdicts, strict=True):
            slot = slots.slot_of(generation, imei, self._names, now)
            sim.slots.add(
                slot=slot,
                role=slots.role_on(slot, imsi),
                judgement=_judgement(imsi, verdict),
            )
        return sim, verdicts[0].serial if verdicts else generation.serial

    def status(self, typed: TypedImei) -> inquiry_pb2.InquireStatusResponse:
        """Tell the public status of an IMEI."""
        generation, now, key = self._store.generation, self._clock(), typed.imei.key
        slot = slots.slot_of(generation, key, self._names, now)
        others = [slots.slot_of(generation, other, self._names, now) for other in generation.links(key)]
        special = special_class(key, self._checker().policy.placeholders) is not ImeiClass.KEY
        return inquiry_pb2.InquireStatusResponse(
            imei=imei_15(key),
            status=slots.public_status(slot, others, special=special),
            check_digit_wrong=typed.check_digit_wrong,
        )

    def history(
        self, page_token: bytes, typed: TypedImei | None = None, imsi: int = 0, msisdn: int = 0
    ) -> inquiry_pb2.InquireHistoryResponse:
        """Tell a page of the deltas about an IMEI, an IMSI or an MSISDN. Raises InvalidRequestError."""
        journal, started = self._searched, monotonic()
        place, followed = history.from_token(page_token)
        trace = history.Trace(imsis=followed)
        if typed is not None:
            trace.imei = _imei_of(typed)
            slot = slots.slot_of(self._store.generation, trace.imei, self._names, self._clock())
            trace.imsis |= {imsi_code(text) for text in slots.standing_imsis(slot)}
        elif msisdn:
            trace.msisdns.add(msisdn)
            trace.imsis |= {one.imsi for one in journal.subscribers_of(msisdn, self._bounds.sims_max)}
        else:
            trace.imsis.add(imsi)
        bounds = history.Bounds(
            self._bounds.history_rows_max,
            self._bounds.history_seconds_max,
            lambda: monotonic() - started,
        )
        page = history.search(journal, trace, place, bounds)
        oldest = journal.delta(journal.oldest_serial())
        to = page.searched_to if page.next_place else oldest
        return inquiry_pb2.InquireHistoryResponse(
            entries=map(_entry, page.rows),
            next_page_token=history.token(page.next_place, trace.imsis) if page.next_place else b"",
            searched_to_serial=page.next_place[0] if page.next_place else to.serial if to else 0,
            searched_to_time=to.committed_at if to else 0,
            journal_from_serial=oldest.serial if oldest else 0,
            journal_from_time=oldest.committed_at if oldest else 0,
            journal_to_serial=journal.last_serial(),
            unreadable_serials=page.unreadable_serials,
        )


def _imei_of(typed: TypedImei) -> Imei:
    return typed.imei.raw or typed.imei.key


def _checked_imei(imei: Imei) -> str:
    """Write an IMEI as a check has it."""
    return imei if isinstance(imei, str) else imei_text(imei)


def _imeis_of(generation: Generation, code: int) -> list[Imei]:
    """IMEIs on which an IMSI may stand."""
    codes = np.array([code], np.uint64)
    raw = imsi_index.raw_of(generation, codes)
    texts = generation.raw_texts(raw) if len(raw) else []
    return [*imsi_index.keys_of(generation, codes).tolist(), *texts]


def _stands(generation: Generation, imei: Imei, code: int) -> bool:
    """Tell whether an IMSI stands on an IMEI."""
    head, words = generation.raw_row(imei) if isinstance(imei, str) else generation.key_row(imei)
    of_imsi = (Item.UTILIZER, Item.EXEMPT_PAIR, Item.GRANDFATHER_PAIR)
    items = unpack(words) if words is not None else []
    return head & CODE_MASK == code or any(kind in of_imsi and subject == code for kind, subject, _ in items)


def _judgement(imsi: str, verdict: Verdict) -> inquiry_pb2.Judgement:
    return inquiry_pb2.Judgement(
        imsi=imsi,
        status=verdict.status,  # type: ignore[arg-type]  # an int is what the wire has
        reason=verdict.reason,  # type: ignore[arg-type]
        deadline=verdict.deadline,
    )


def _entry(found: history.Found) -> inquiry_pb2.HistoryEntry:
    delta = found.delta
    return inquiry_pb2.HistoryEntry(
        serial=delta.serial,
        feed=delta.feed,
        sequence=delta.sequence,
        reference=delta.reference,
        committed_at=delta.committed_at,
        operation=message(found.row, found.reference),
        ignored_row_count=delta.ignored_row_count,
    )
