"""How a message looks: mail, ticket, chat, letter, review, bare note.

In: an author and told paragraphs. Out: the text of the document. Knows nothing of what is asked.
"""

from sample_data.ticket_source.phrasebook import Author, load_bank

GREETINGS = {
    "terse": ("Hi,", "Hello,", "", "All,"),
    "chatty": ("Dear Quillmere people,", "Good morning dear team,", "Dear {agent},", "Hello to all of you,"),
    "angry": ("To whoever reads this:", "Quillmere,", "Hello?", "To the management"),
    "polite": ("Dear Sir or Madam,", "Dear Support Team,", "Good day,", "Dear {agent},"),
    "lawyerly": ("Dear Sirs,", "Dear Madam or Sir,", "To Quillmere Ltd, Legal and Customer Care"),
    "plain": ("Hi,", "Hello,", "Hi there,", "Dear team,", "Hello {agent},", "Hi {agent},", "Good afternoon,"),
}
SIGN_OFFS = {
    "terse": ("{first}", "-{first}", "{person}"),
    "chatty": ("Warm greetings from {city},\n{person}", "Yours,\n{person}", "All the best and God bless,\n{person}"),
    "angry": ("{person}", "{person}, {org}", "Not amused,\n{person}"),
    "polite": ("With kind regards,\n{person}", "Yours sincerely,\n{person}", "Respectfully,\n{person}\n{city}"),
    "lawyerly": ("Yours faithfully,\n{person}\non behalf of {org}", "{person}\nCounsel, {city}"),
    "plain": ("Best regards,\n{person}", "Regards\n{first}", "Thanks,\n{first}", "Cheers,\n{person}"),
}
SIGNATURES = (
    "{person} | {role} | {org}\n{street}, {city}",
    "--\n{person}\n{org}, {city}\nSent from my {phone}",
    "Sent from my {phone}",
    "{org}\n{street}\n{city}",
)
NEUTRAL_SUBJECTS = (
    "{ticket}",
    "Re: {ticket}",
    "Question",
    "Your help please",
    "{org}, {city}",
    "Message from {person}",
    "Re: Re: {product}",
)
REVIEW_TITLES = (
    "Hm",
    "Mixed feelings",
    "{product}, {firmware}",
    "Could be better",
    "To the developer",
    "After {years}",
)
CHAT_OPENERS = ("Hello, how can I help?", "Welcome to Quillmere chat.", "Hi, what can I do for you?")
FORMS = ("mail", "mail", "mail", "ticket", "ticket", "chat", "letter", "review", "note", "note")
SUBJECT_SHARE = 0.45


def _fill(author: Author, options: tuple[str, ...]) -> str:
    return author.rng.choice(options).format_map(author.facts)


def write_subject(author: Author, block: str | None) -> str:
    """Write a subject line: from the case, or one that says nothing."""
    return author.line(block) if block and author.rng.random() < 0.7 else _fill(author, NEUTRAL_SUBJECTS)


def as_mail(author: Author, persona: str, body: str, subject: str | None) -> str:
    """Set a body as an e-mail."""
    parts = [f"Subject: {subject}"] if subject else []
    parts += [_fill(author, GREETINGS[persona]), body, _fill(author, SIGN_OFFS[persona])]
    if author.rng.random() < 0.3:
        parts.append(_fill(author, SIGNATURES))
    return "\n\n".join(part for part in parts if part)


def as_ticket(author: Author, body: str, subject: str | None) -> str:
    """Set a body as the text of a web form."""
    rng, facts = author.rng, author.facts
    head = [f"Title: {subject}"] if subject else []
    if rng.random() < 0.5:
        head.append(f"Product: {facts['product']}")
    if rng.random() < 0.4:
        head.append(f"Customer: {facts['org']}")
    if rng.random() < 0.3:
        head.append(f"Priority: {rng.choice(('low', 'normal', 'high', 'urgent'))}")
    return "\n".join(head) + ("\n\n" if head else "") + body


def as_chat(author: Author, paragraphs: list[list[str]]) -> str:
    """Set sentences as a chat in which the agent mostly listens."""
    rng, facts, shared = author.rng, author.facts, load_bank("shared")
    hour, minute = rng.randint(8, 17), rng.randrange(60)
    lines: list[str] = []
    stamped = rng.random() < 0.6

    def say(who: str, what: str) -> None:
        nonlocal hour, minute
        minute += rng.randint(0, 2)
        hour, minute = (hour + minute // 60) % 24, minute % 60
        lines.append((f"[{hour:02d}:{minute:02d}] " if stamped else "") + f"{who}: {what}")

    say(facts["agent"], rng.choice(CHAT_OPENERS))
    sentences = [sentence for paragraph in paragraphs for sentence in paragraph]
    while sentences:
        size = rng.randint(1, 3)
        say(facts["first"], " ".join(sentences[:size]))
        sentences = sentences[size:]
        if sentences and rng.random() < 0.6:
            for reply in author.draw(shared["agent_ask"]):
                say(facts["agent"], reply)
    return "\n".join(lines)


def as_letter(author: Author, body: str, subject: str | None) -> str:
    """Set a body as a letter that reception scanned or forwarded."""
    facts, rng = author.facts, author.rng
    lead = rng.choice((
        f"Forwarded by reception, received {facts['date']}:",
        f"[Scan of a letter, {facts['city']}]",
        f"---------- Forwarded message ----------\nFrom: {facts['person']}",
        f"{facts['org']}\n{facts['street']}\n{facts['city']}",
    ))  # fmt: skip
    subject_line = f"\n\nRe: {subject}" if subject else ""
    return f"{lead}{subject_line}\n\n{body}\n\n{facts['person']}"


def as_review(author: Author, body: str) -> str:
    """Set a body as a note left in an app store."""
    stars = author.rng.randint(1, 4)
    title = _fill(author, REVIEW_TITLES)
    return f"{'★' * stars}{'☆' * (5 - stars)} {title}\n{body}\n({author.facts['first']}, {author.facts['phone']})"


def dress(author: Author, form: str, persona: str, paragraphs: list[list[str]], subject_block: str | None) -> str:
    """Set paragraphs in one of the forms."""
    gap = "\n" if form == "review" else "\n\n"
    body = gap.join(" ".join(paragraph) for paragraph in paragraphs if paragraph)
    subject = write_subject(author, subject_block) if author.rng.random() < SUBJECT_SHARE else None
    if form == "mail":
        return as_mail(author, persona, body, subject)
    if form == "ticket":
        return as_ticket(author, body, subject)
    if form == "chat":
        return as_chat(author, paragraphs)
    if form == "letter":
        return as_letter(author, body, subject)
    if form == "review":
        return as_review(author, body)
    return body
