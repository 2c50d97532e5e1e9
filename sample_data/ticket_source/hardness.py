"""The deliberately hard documents: a careful reader still knows the class, a counter of words does not.

In: an author and the right class. Out: paragraphs, or whole text. Each kind of hardness is one function.
"""

import random
import re
from collections.abc import Callable

from sample_data.ticket_source.forms import FORMS, as_mail, dress
from sample_data.ticket_source.longform import quote
from sample_data.ticket_source.phrasebook import Author, class_names, load_bank
from sample_data.ticket_source.stories import (
    PERSONAS,
    draw_case,
    draw_fillers,
    draw_length,
    fitting_others,
    join_paragraphs,
    tell,
)

HARD_KINDS = ("mixed", "negation", "quoted", "typos", "language", "vague")

TYPO_SHARE = 0.6  # of the longer words; enough that most key words are hit, few enough to read on
_SOUNDS = (("tion", "shun"), ("ough", "uff"), ("ck", "k"), ("ph", "f"), ("ee", "ea"), ("ei", "ie"), ("ss", "s"))


def _other_class(author: Author, label: str) -> str:
    return author.rng.choice([name for name in class_names() if name != label])


def _random_dress(author: Author, persona: str, paragraphs: list[list[str]]) -> str:
    form = author.rng.choice([name for name in FORMS if name != "review"])
    return dress(author, form, persona, paragraphs, None)


def write_mixed(author: Author, label: str) -> str:
    """Two matters in one message, and a sentence that says which one to act on."""
    rng, shared = author.rng, load_bank("shared")
    persona = rng.choice(PERSONAS)
    case = draw_case(label, author.split, rng)
    other = draw_case(_other_class(author, label), author.split, rng)
    wanted = author.draw(case.core) + author.draw(case.detail, rng.randint(0, 2)) + author.draw(case.ask)
    besides = author.draw(other.core) + author.draw(other.detail, rng.randint(2, 3))
    opening = author.draw(shared["opening"][persona])
    fillers = draw_fillers(author, label, persona, rng.randint(0, 50))
    if rng.random() < 0.5:
        body = [opening, besides + fillers, author.draw(shared["priority_after"]) + wanted]
    else:
        body = [
            opening,
            author.draw(shared["priority_before"]) + wanted,
            author.draw(shared["second_matter"]) + besides,
        ]
    return _random_dress(author, persona, body)


def write_negation(author: Author, label: str) -> str:
    """Says at length what it is not about, in the words of those classes."""
    rng, shared = author.rng, load_bank("shared")
    persona = rng.choice(PERSONAS)
    case = draw_case(label, author.split, rng)
    denied = [
        sentence
        for name in rng.sample(fitting_others(label), rng.randint(3, 4))
        for sentence in author.draw(load_bank(name)["not_about"], 2, disjoint=True)
    ]
    core = author.draw(case.core) + author.draw(case.ask, rng.randint(0, 1))
    fillers = draw_fillers(author, label, persona, rng.randint(0, 40))
    bridge = author.draw(shared["negation_bridge"])
    order = [denied, bridge + core, fillers] if rng.random() < 0.6 else [core[:1], denied + fillers, core[1:]]
    return _random_dress(author, persona, [author.draw(shared["opening"][persona]), *order])


def write_quoted(author: Author, label: str) -> str:
    """Put a short new message on top of a longer quoted one about something else, already settled."""
    rng, facts = author.rng, author.facts
    persona = rng.choice(PERSONAS)
    case = draw_case(label, author.split, rng)
    old = draw_case(_other_class(author, label), author.split, rng)
    top = author.draw(load_bank("shared")["quoted_lead"]) + author.draw(case.core) + author.draw(case.ask)
    top += author.draw(case.detail, rng.randint(0, 1))
    message = as_mail(author, persona, " ".join(top), None)
    below = join_paragraphs(tell(author, old, rng.choice(PERSONAS), rng.randint(70, 160)))
    reply = " ".join(author.draw(load_bank("shared")["agent_settled"]))
    return (
        f"{message}\n\nOn {facts['date']}, {facts['agent']} (Quillmere support) wrote:\n{quote(reply)}\n"
        f"> On {facts['earlier']}, {facts['person']} wrote:\n{quote(quote(below))}"
    )


def misspell(word: str, rng: random.Random) -> str:
    """Spoil one word the way hurried or untrained fingers do."""
    if len(word) < 4 or not word.isalpha() or rng.random() > TYPO_SHARE:
        return word
    at = rng.randrange(1, len(word) - 1)
    way = rng.randrange(5)
    if way == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if way == 1:
        return word[:at] + word[at + 1 :]
    if way == 2:
        return word[:at] + word[at] + word[at:]
    if way == 3:
        return word[:at] + rng.choice("aeiou" if word[at] in "aeiou" else "bdfghklmnprst") + word[at + 1 :]
    for sound, spelt in _SOUNDS:
        if sound in word[1:]:
            return word[0] + word[1:].replace(sound, spelt, 1)
    return word[:-1]


def write_typos(author: Author, label: str) -> str:
    """Write an ordinary message, badly spelt, mostly without capitals."""
    rng = author.rng
    persona = rng.choice(("terse", "chatty", "angry", "plain"))
    case = draw_case(label, author.split, rng)
    paragraphs = tell(author, case, persona, min(110, draw_length(rng)))
    text = dress(author, rng.choice(("mail", "ticket", "note", "chat")), persona, paragraphs, None)
    if rng.random() < 0.6:
        text = text.lower()
    text = re.sub(r"[^\W\d_]+", lambda found: misspell(found.group(), rng), text)
    return re.sub(r"[,']", lambda found: found.group() if rng.random() < 0.4 else "", text)


def write_language(author: Author, label: str) -> str:
    """Write a message in Spanish, German or French."""
    rng = author.rng
    bank = load_bank("language")[rng.choice(("es", "de", "fr"))]
    middle = author.draw(bank["middle"], rng.randint(2, 4))
    cut = rng.randint(0, len(middle))
    return "\n\n".join((
        author.line(bank["opening"]),
        " ".join(middle[:cut] + author.draw(bank[label]) + middle[cut:]),
        author.line(bank["closing"]),
    ))  # fmt: skip


def write_vague(author: Author, label: str) -> str:
    """Never names the matter; what happened still says it."""
    rng, shared = author.rng, load_bank("shared")
    hints = author.draw(load_bank(label)["vague"], rng.choice((1, 2, 2)), disjoint=True)
    filler = author.draw(shared["vague_filler"], rng.randint(2, 3))
    cut = rng.randint(0, len(filler))
    body = [
        author.draw(shared["vague_opening"]) + filler[:cut] + hints,
        filler[cut:] + author.draw(author.facts["background"]),
    ]
    return _random_dress(author, rng.choice(("chatty", "plain", "polite", "terse")), body)


WRITERS: dict[str, Callable[[Author, str], str]] = {
    "mixed": write_mixed,
    "negation": write_negation,
    "quoted": write_quoted,
    "typos": write_typos,
    "language": write_language,
    "vague": write_vague,
}
