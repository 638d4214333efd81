"""From `shops.txt` to examples of reading: `python examples/training/reading/make.py OUT`.

`shops.txt` holds invented shops and what is asked about each of their sentences. Each example draws
passages of one or more of them, in any order and with numbers and words of its own, and asks for
several sentences of what is shown, and for one that is not shown.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

SHOPS = Path(__file__).with_name("shops.txt")
DECLINES = "I do not know, the sources do not say that."
GREETINGS = ("I am {}, {}", "Hi, I'm {}. {}", "{} here, {}", "My name is {}. {}", "This is {}, {}")
_SLOT = re.compile(r"\{([^{}]+)\}")


@dataclass
class Section:
    """A passage to be: its heading, and its sentences with their questions."""

    heading: str
    sentences: list[tuple[str, list[str]]] = field(default_factory=list)


@dataclass
class Shop:
    """A document to be. names: one of them stands for `$N`."""

    title: str
    names: list[str] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)


def read_shops(path: Path = SHOPS) -> list[Shop]:
    """`@` begins a document, `=` a section; a sentence is followed by its questions."""
    shops: list[Shop] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("@ "):
            shops.append(Shop(line[2:]))
        elif line.startswith("names: "):
            shops[-1].names = line[7:].split("/")
        elif line.startswith("= "):
            shops[-1].sections.append(Section(line[2:]))
        elif line:
            sentence, *questions = (part.strip() for part in line.split("|"))
            shops[-1].sections[-1].sentences.append((sentence, questions))
    return shops


def drawn(shop: Shop, chance: random.Random) -> Shop:
    """The same document with numbers and words of its own."""
    name = chance.choice(shop.names) if shop.names else ""

    def filled(text: str) -> str:
        text = text.replace("$N", name)
        return _SLOT.sub(lambda slot: _value(slot[1], chance), text)

    sections = [
        Section(
            one.heading, [(filled(s), [filled(q) for q in asked]) for s, asked in one.sentences]
        )
        for one in shop.sections
    ]
    return Shop(shop.title.replace("$N", name).strip(), [], sections)


def _value(slot: str, chance: random.Random) -> str:
    low, dash, high = slot.partition("-")
    if dash and low.isdigit() and high.isdigit():
        return str(chance.randint(int(low), int(high)))
    return chance.choice(slot.split("/"))


def example(shops: Sequence[Shop], chance: random.Random) -> dict[str, object]:
    """Two or three passages, questions about them in any order, and one that they do not answer."""
    own, other, third = (drawn(shop, chance) for shop in chance.sample(shops, 3))
    runs = _runs(own, chance)
    # What is not shown of the document is asked for, too.
    kept = runs if len(runs) == 1 or chance.random() < 0.4 else [chance.choice(runs)]
    foreign = [(other, [chance.choice(other.sections)]), (third, _runs(third, chance)[0][:2])]
    shown = [(own, run) for run in kept]
    shown += foreign[: chance.choices((2, 3), (2, 1))[0] - len(kept)]
    chance.shuffle(shown)
    asked = _of_shown(shown, own, chance) + _of_hidden(shown, own, chance)
    chance.shuffle(asked)
    passages = [_passage(shop, run, chance) for shop, run in shown]
    first, *also = asked
    return {
        "tenant": "reading",
        "question": first[0],
        "passages": passages,
        "answer": first[1],
        "also": [{"question": question, "answer": answer} for question, answer in also],
    }


def _runs(shop: Shop, chance: random.Random) -> list[list[Section]]:
    """The document in one or two passages: a search joins sections that stand together."""
    if len(shop.sections) == 1 or chance.random() < 0.35:
        return [shop.sections]
    cut = chance.randrange(1, len(shop.sections))
    return [shop.sections[:cut], shop.sections[cut:]]


def _of_shown(
    shown: Sequence[tuple[Shop, Sequence[Section]]], own: Shop, chance: random.Random
) -> list[tuple[str, str]]:
    """Six or seven questions, most of them about the passages of one document."""
    near, far = [], []
    for number, (shop, run) in enumerate(shown, 1):
        for sentence, questions in (one for section in run for one in section.sentences):
            one = (chance.choice(questions), f"{sentence.rstrip('.')} [{number}].")
            (near if shop is own else far).append(one)
    chosen = chance.sample(near, min(len(near), chance.randint(5, 6)))
    chosen += chance.sample(far, min(len(far), max(1, 6 - len(chosen))))
    return [_voiced(question, answer, chance) for question, answer in chosen]


def _of_hidden(
    shown: Sequence[tuple[Shop, Sequence[Section]]], own: Shop, chance: random.Random
) -> list[tuple[str, str]]:
    """A question that nothing shown answers: of the same document, where there is more of it."""
    seen = {id(section) for _, run in shown for section in run}
    hidden = [s for one in own.sections if id(one) not in seen for s in one.sentences]
    if not hidden:
        elsewhere = [shop for shop in read_shops() if shop.sections[0].heading != "rows"]
        titles = {shop.title for shop, _ in shown}
        shop = chance.choice([drawn(one, chance) for one in elsewhere])
        if shop.title in titles:
            return []
        hidden = [s for one in shop.sections for s in one.sentences]
    _, questions = chance.choice(hidden)
    question, _ = _voiced(chance.choice(questions), "", chance)
    return [(question, DECLINES)]


def _voiced(question: str, answer: str, chance: random.Random) -> tuple[str, str]:
    """As customers type: without a question mark, in lower case; some of them say their name."""
    question = question.rstrip("?") + chance.choice(("?", "?", ""))
    if chance.random() < 0.5:
        question = question[0].upper() + question[1:]
    if chance.random() >= 0.15:
        return question, answer
    name = f"<PERSON_{chance.choice((1, 1, 1, 2))}>"
    asked = chance.choice(GREETINGS).format(name, question)
    return asked, f"{name}, {answer[:1].lower()}{answer[1:]}"


def _passage(shop: Shop, run: Sequence[Section], chance: random.Random) -> str:
    parts = []
    for section in run:
        first = section is shop.sections[0]
        path = shop.title if first else f"{shop.title} > {section.heading}"
        parts.append("\n".join((path, *(sentence for sentence, _ in section.sentences))))
    if run[-1] is shop.sections[-1] and chance.random() < 0.5:
        code = "".join(chance.choices("ABCDEFGHKLMNPRSTUVWXYZ23456789", k=5))
        parts.append(f"Internal reference: {shop.title[:3].upper()}-{code}")
    return "\n\n".join(parts)


def main(out: Path, count: int, seed: int) -> None:
    """Write `count` examples."""
    chance, shops = random.Random(seed), read_shops()
    lines = [json.dumps(example(shops, chance), ensure_ascii=False) for _ in range(count)]
    out.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 400, 7)
