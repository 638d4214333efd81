"""How an adapter's answers are judged, on answers whose worth is plain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evals.quality.adapter_ablations import changes
from evals.quality.adapter_answers import HeldOut, Verdict, held_out, judged, states
from evals.quality.adapter_report import report
from evals.quality.demo import Deployment

RETURNS = HeldOut("how long?", "returns.md", "30 days", "Maria Hansen")
ABSENT = HeldOut("do you sell boats?")


def _reply(text: str, *, cited: bool = True, tokens: int = 300) -> dict[str, Any]:
    return {
        "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
        "citations": [
            {"document_id": "returns.md", "quote": "Labels are free.", "cited": not cited},
            {"document_id": "returns.md", "quote": "Within 30 days.", "cited": cited},
        ],
        "usage": {"prompt_tokens": tokens},
    }


def _verdict(asking: HeldOut, text: str, model: str = "voice", **reply: Any) -> Verdict:
    return judged(asking, model, _reply(text, **reply))


def test_a_fact_is_found_in_whole_words_whatever_the_spacing() -> None:
    assert states("Within 30\n days.", "30 Days")
    assert not states("Within 130 days.", "30 days")
    assert not states("NOK 350.", "NOK 35")


def test_an_answer_is_judged_by_what_it_says() -> None:
    good = _verdict(RETURNS, "Maria Hansen, within 30 days [1].")
    assert (good.fact, good.cited, good.named, good.declined, good.ended) == (
        *(True, True, True),
        *(False, True),
    )
    # The right document is not enough: another passage of it does not say so.
    assert not _verdict(RETURNS, "Within 30 days.", cited=False).cited
    assert not good.first_holds
    assert not _verdict(RETURNS, "<PERSON_1>, Maria Hansen, 30 days.").named
    assert not _verdict(RETURNS, "Within 40 days.").fact
    assert _verdict(ABSENT, "I do not know.").declined


def test_base_and_adapter_are_compared_on_the_same_questions() -> None:
    answers = [
        (RETURNS, _verdict(RETURNS, "40 days"), _verdict(RETURNS, "Maria Hansen, 30 days")),
        (ABSENT, _verdict(ABSENT, "Yes."), _verdict(ABSENT, "I do not know.")),
        # The gateway's own refusal is no merit of a model.
        (ABSENT, _verdict(ABSENT, "No.", tokens=0), _verdict(ABSENT, "No.", tokens=0)),
    ]
    told = report({"fjellvik": answers})
    for cells in (told["measures"]["fjellvik"], told["measures"]["all"]):
        assert cells["fact"]["base"]["count"] == 0
        assert cells["fact"]["adapter"]["count"] == cells["fact"]["adapter"]["of"] == 1
        assert cells["fact"]["difference"]["mean"] == 1
        assert cells["fact_of_fresh_questions"]["base"] == {"count": 0, "of": 0}
        assert cells["declined_where_nothing_answers"]["adapter"]["of"] == 1
        assert cells["refused_by_the_gateway"] == 1
        assert cells["right_if_always_the_first_were_cited"]["count"] == 0
        assert cells["right_passage_cited_where_it_is_not_the_first"]["adapter"]["of"] == 1
    assert told["answers"]["fjellvik"][0]["adapter"]["answer"] == "Maria Hansen, 30 days"


def test_a_changed_document_states_the_changed_fact_and_no_longer_the_old_one() -> None:
    merchants = Path(__file__).resolve().parents[2] / "examples" / "merchants"
    deployment = Deployment("http://unused", {}, merchants)
    documents, asked = changes(deployment, "voltbay", 50)
    assert len(asked) >= 25
    facts = {(one.document, one.customer): one.fact for one in held_out("voltbay")}
    for one in asked:
        assert one.document is not None
        assert one.fact is not None
        assert states(documents[one.document].text, one.fact)
        assert one.fact not in [fact for (name, _), fact in facts.items() if name == one.document]
