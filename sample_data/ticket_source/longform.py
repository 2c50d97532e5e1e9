"""The long tail: pasted logs, earlier mails of a thread, minutes of a meeting.

In: an author, a case, and how many words are wanted. Out: text to stand after or around the message.
Knows nothing of hardness and files.
"""

import datetime

from sample_data.ticket_source.phrasebook import Author, load_bank, split_phrases
from sample_data.ticket_source.stories import Case, count_words, draw_asides, draw_fillers, join_paragraphs, tell

USUAL_LOG = {
    "billing": "ledger", "refund": "ledger", "cancellation": "ledger", "outage": "device", "bug_report": "device",
    "feature_request": "device", "sales_question": "device", "delivery": "tracking", "account_access": "audit",
    "security": "audit",
}  # fmt: skip
OTHER_LOG_SHARE = 0.35  # people paste what they have, not what fits


def _event_time(author: Author) -> datetime.datetime:
    day = datetime.datetime.fromisoformat(author.facts["event_iso"]).replace(tzinfo=datetime.UTC)
    return day + datetime.timedelta(seconds=author.rng.randrange(20_000, 80_000))


def paste_log(author: Author, label: str, words: int) -> str:
    """Write a stretch of log of about `words` words."""
    rng = author.rng
    kinds = load_bank("logs")
    kind = rng.choice(sorted(kinds)) if rng.random() < OTHER_LOG_SHARE else USUAL_LOG[label]
    phrases = split_phrases(kinds[kind], author.split)
    clock = _event_time(author)
    lines: list[str] = []
    while count_words(lines) < words:
        clock += datetime.timedelta(seconds=rng.randint(1, 900))
        line = rng.choice(phrases)
        while "{num}" in line:
            line = line.replace("{num}", str(rng.randint(1, 99)), 1)
        lines.append(f"{clock:%Y-%m-%d %H:%M:%S} {line.format_map(author.facts)}")
    return "\n".join(lines)


def quote(text: str) -> str:
    """Mark text as quoted, the way mail programs do."""
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def earlier_thread(author: Author, case: Case, words: int) -> str:
    """Write the mails below the newest one: the agent's replies and the writer's earlier messages."""
    shared, facts, rng = load_bank("shared"), author.facts, author.rng
    clock = _event_time(author)
    blocks: list[str] = []
    misses = 0

    def add(who: str, text: str) -> None:
        nonlocal clock
        clock -= datetime.timedelta(hours=rng.randint(3, 70), minutes=rng.randrange(60))
        blocks.append(f"On {clock:%Y-%m-%d} at {clock:%H:%M}, {who} wrote:\n" + quote(text))

    while count_words(blocks) < words and misses < 3:
        reply = author.draw(shared["agent_reply"], 2)
        body = draw_fillers(author, case.label, "plain", rng.randint(40, 90)) + author.draw(case.detail)
        lead = author.draw(shared["follow_up"]) + author.draw(case.core)
        misses += not reply
        if reply:
            add(f"{facts['agent']} (Quillmere support)", " ".join(reply))
        if lead or body:
            add(facts["person"], " ".join(lead + body))
    return "\n\n".join(blocks)


def meeting_notes(author: Author, case: Case, words: int) -> str:
    """Write minutes in which one point is a request to the company."""
    shared, facts, rng = load_bank("shared"), author.facts, author.rng
    points: list[str] = []
    misses = 0
    while count_words(points) < words - 80 and misses < 6:
        drawn = author.draw(shared["notes_item"])
        if rng.random() < 0.6:
            drawn += author.draw(facts["background"])
        if rng.random() < 0.5:
            drawn += draw_asides(author, case.label, 1)
        if rng.random() < 0.5:
            drawn += author.draw(shared["usage"])
        misses += not drawn
        points.append(" ".join(drawn))
    request = join_paragraphs(tell(author, case, "terse", 90), " ")
    points = [point for point in points if point]
    points.insert(rng.randint(0, len(points)), f"For Quillmere support ({facts['colleague']} to send): {request}")
    head = (
        f"Minutes, {facts['org']}, {facts['date']}\nPresent: {facts['person']}, {facts['colleague']}, {facts['boss']}"
    )
    return head + "\n\n" + "\n\n".join(f"{number}. {point}" for number, point in enumerate(points, 1))
