"""`eir check` says every verdict in a sentence."""

import pytest

from eir.cli.check import EXITS, LEADS, REMEDIES, SENTENCES, explain, explain_case
from eir.policy.rules import CAUSES
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


NOW = 1_790_000_000


def test_every_cause_of_a_case_says_what_helps():
    assert set(REMEDIES) == set(CAUSES.values())
    assert all(remedy.endswith(".") for remedy in REMEDIES.values())


@pytest.mark.parametrize(
    ("status", "deadline", "says"),
    [
        (Status.GREYLISTED, NOW + 1, "has the deadline 2026-09-21 14:13:21 UTC."),
        (Status.GREYLISTED, NOW, "The deadline of its case was 2026-09-21 14:13:20 UTC; the cut-off waits"),
        (Status.GREYLISTED, 0, "No deadline yet"),
        (Status.BLACKLISTED, NOW, "was cut off; the deadline was 2026-09-21 14:13:20 UTC."),
    ],
)
def test_where_a_case_stands_is_said_with_what_helps(status, deadline, says):
    first, helps = explain_case(status, Reason.NEVER_ACTIVATED, deadline, NOW)
    assert says in first
    assert helps == "What helps: the phone is activated with this SIM."


def test_what_has_no_case_says_nothing_of_one():
    assert explain_case(Status.BLACKLISTED, Reason.BLOCKED_STOLEN, 0, NOW) == []
    assert explain_case(Status.WHITELISTED, Reason.NOT_REGISTERED, 0, NOW) == []
