"""Subscribers who ask by SMS: the public status of an IMEI, in their language.

deliver_sm ──► incoming: question ──► inquirer: public status ──► text ──► sender: reply

Runs in the keeper's thread. An answer is sent once, or not at all: who asks may ask again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import smpp34
import structlog

from eir.errors import EirError
from eir.inquiry.inquirer import Inquirer
from eir.notify.incoming import Incoming, Question
from eir.notify.messages import INQUIRY, Values
from eir.notify.sender import Reply, Wording
from eir.notify.smpp import Address
from eir.proto import inquiry_pb2
from eir.whitelist.journal import Journal

log = structlog.get_logger()


@dataclass
class Answering:
    """Answers what arrives."""

    incoming: Incoming
    inquirer: Callable[[], Inquirer]
    journal: Journal
    """Of the desk: languages of subscribers."""
    wording: Callable[[], Wording]
    reply: Callable[[Reply], None]
    clock: Callable[[], int]

    def __call__(self, smsc: str, message: smpp34.DeliverSm) -> None:
        """Take a short message, and answer what is to be answered."""
        question = self.incoming.take(smsc, message, self.clock())
        if question is None:
            return
        try:
            text = self.answer(question)
        except EirError as error:
            log.warning("an SMS is not answered", why=error.message)
            return
        self.reply(Reply(smsc, Address(question.sender, question.ton, question.npi), text))

    def answer(self, question: Question) -> str:
        """Return what a subscriber is told. Raises NotReadyError, StorageError, JournalDamagedError."""
        told = self.inquirer().status(question.imei)
        name = inquiry_pb2.PublicStatus.Name(told.status).removeprefix("PUBLIC_STATUS_").lower()
        known = self.journal.subscribers_of(int(f"1{question.sender.removeprefix('+')}"), 1)
        says, now = self.wording(), self.clock()
        values = Values(told.imei, now, now, says.zone, says.code, says.helpline)
        return says.texts.fill(known[0].language if known else "", INQUIRY, name, values)
