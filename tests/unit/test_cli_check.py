"""`eir check` says every verdict in a sentence."""

import pytest

from eir.cli.check import EXITS, LEADS, SENTENCES, explain
from eir.verdict import Reason, Status


def test_every_reason_has_a_sentence_of_its_own():
    assert set(SENTENCES) == set(Reason)
    assert len(set(SENTENCES.values())) == len(SENTENCES)


@pytest.mark.parametrize("reason", Reason)
def test_sentences_end_and_begin_like_the_end_of_a_sentence(reason):
    sentence = SENTENCES[reason]
    assert sentence.endswith(".")
    assert sentence[0].islower() or sentence.startswith("IM")
    assert reason.name not in sentence


def test_every_status_has_a_beginning():
    assert set(LEADS) == set(Status)
    assert explain(Status.BLACKLISTED, Reason.BLOCKED_STOLEN) == "Denied: this IMEI is reported stolen."


def test_only_denied_and_unknown_are_no_success():
    assert {status: EXITS.get(status, 0) for status in Status} == {
        Status.WHITELISTED: 0,
        Status.GREYLISTED: 0,
        Status.BLACKLISTED: 3,
        Status.UNKNOWN: 4,
    }
