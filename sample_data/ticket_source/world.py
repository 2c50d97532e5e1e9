"""The facts one document rests on: who writes, from where, about which product, when, and how much.

In: a random generator and the side of the split. Out: a flat mapping for the slots of the phrases, in
which things fit each other (the part belongs to the product, the deadline follows the event).
Knows nothing of classes.
"""

import datetime
import random
from typing import Any

from sample_data.ticket_source.phrasebook import Split, load_bank, split_phrases

FIRST_DAY = datetime.date(2025, 2, 3)
DAYS_COVERED = 420
CURRENCIES = ("€{}", "{} €", "£{}", "EUR {}", "{} euros")
DATE_STYLES = ("{d.day} {m}", "{m} {d.day}", "{d.day} {m} {d.year}", "the {d.day}{th} of {m}", "{m} {d.day}, {d.year}")


def ordinal_suffix(day: int) -> str:
    """Give the English ending of a day number."""
    return "th" if 10 < day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def _name(key: str, split: Split, rng: random.Random) -> str:
    block = str(load_bank("world")[key])
    return rng.choice(split_phrases(block, split, "|" if "|" in block else " "))


def draw_sector(split: Split, rng: random.Random) -> dict[str, Any]:
    """Choose the kind of place the writer works or lives in."""
    sectors = load_bank("sectors")
    fitting = [s for s in sectors.values() if s.get("split", split) == split]
    chosen = rng.choice(fitting)
    assert isinstance(chosen, dict)
    return chosen


def _money(rng: random.Random, style: str, low: float, high: float) -> str:
    cents = rng.choice(("00", "00", "90", "95", "50", f"{rng.randrange(100):02d}"))
    return style.format(f"{int(rng.uniform(low, high))}.{cents}")


def _calendar(rng: random.Random) -> dict[str, str]:
    months = load_bank("world")["month"].split("|")
    style = rng.choice(DATE_STYLES)
    event = FIRST_DAY + datetime.timedelta(days=rng.randrange(DAYS_COVERED))
    today = event + datetime.timedelta(days=rng.randint(2, 9))

    def show(day: datetime.date) -> str:
        return style.format(d=day, m=months[day.month - 1], th=ordinal_suffix(day.day))

    return {
        "date": show(event),
        "date_num": f"{event:%d.%m.%Y}",
        "earlier": show(event - datetime.timedelta(days=rng.randint(14, 60))),
        "deadline": show(today + datetime.timedelta(days=rng.randint(6, 35))),
        "month": months[today.month - 1],
        "last_month": months[(event.month - 2) % 12],
        "weekday": f"{event:%A}" if event.weekday() < 5 else "Monday",
        "time": rng.choice(("{}:{:02d}", "{}.{:02d}")).format(rng.randint(6, 17), rng.randrange(0, 60, 5)),
        "today_iso": today.isoformat(),
        "event_iso": event.isoformat(),
    }


def _people(split: Split, rng: random.Random) -> dict[str, str]:
    block = load_bank("world")
    firsts = rng.sample(split_phrases(block["first"], split, " "), 4)
    lasts = rng.sample(split_phrases(block["surname"], split, " "), 4)
    colleague = rng.choice((firsts[1], f"{firsts[1]} {lasts[1]}", firsts[1]))
    return {
        "person": f"{firsts[0]} {lasts[0]}",
        "first": firsts[0],
        "colleague": colleague,
        "boss": rng.choice((f"Mr {lasts[2]}", f"Ms {lasts[2]}", f"{firsts[2]} {lasts[2]}")),
        "surname": lasts[3] if rng.random() < 0.5 else lasts[0],
        "email": f"{firsts[0]}.{lasts[0]}@{rng.choice(('mailbox', 'postfach', 'inbox', 'office'))}.example".lower(),
    }


def _product(rng: random.Random) -> dict[str, str]:
    products = load_bank("world")["products"]
    name = rng.choice(list(products))
    thing = products[name]
    return {
        "product": name,
        "product_name": f"Quillmere {name.split()[0]}",
        "unit": name.split()[0].lower(),
        "part": rng.choice(thing["parts"].split("|")),
        "symptom": rng.choice(thing["symptoms"].split("|")),
        "led": rng.choice(thing["leds"].split("|")),
    }


def _numbers(rng: random.Random, is_household: bool) -> dict[str, str]:
    style = rng.choice(CURRENCIES)
    base = rng.choice((40, 60, 90, 140))
    return {
        "amount": _money(rng, style, base * 2, base * 6),
        "small": _money(rng, style, base * 0.6, base * 1.8),
        "amount2": style.format(rng.randrange(2, 30) * 500),
        "n": str(rng.randint(3, 7 if is_household else 60)),
        "seats": str(rng.randint(3, 5) if is_household else rng.randint(6, 80)),
        "order": rng.choice(("Q-{}", "{}", "QM{}")).format(rng.randrange(200_000, 990_000)),
        "invoice": rng.choice(("INV-{}", "R{}", "26-{}", "F-{}")).format(rng.randrange(10_000, 99_999)),
        "ticket": f"#{rng.randrange(30_000, 99_999)}",
        "tracking": f"{rng.choice('ABJKX')}{rng.choice('BDKT')}{rng.randrange(10**8, 10**9)}",
        "serial": f"{rng.choice('HWKDRM')}{rng.randrange(20, 26)}-{rng.randrange(1000, 9999)}",
        "error": rng.choice(("QM-{}", "E{}", "code {}")).format(rng.randrange(100, 999)),
        "firmware": f"{rng.randint(3, 6)}.{rng.randint(0, 12)}.{rng.randint(0, 9)}",
    }


def draw_facts(split: Split, rng: random.Random) -> dict[str, str]:
    """Invent a writer and a case; every slot of the phrase banks has its value here."""
    sector = draw_sector(split, rng)
    plural = sector["number"] == "we" and rng.random() < 0.7
    plan, plan2 = rng.sample(load_bank("world")["plan"].split("|"), 2)
    facts = {
        "I": "we" if plural else "I",
        "my": "our" if plural else "my",
        "me": "us" if plural else "me",
        "plan": plan,
        "plan2": plan2,
        "site": str(sector["site"]),
        "background": str(sector["background"]),
        **_calendar(rng),
        **_people(split, rng),
        **_product(rng),
        **_numbers(rng, is_household=sector["number"] == "I"),
    }
    for key in ("city", "carrier", "agent", "role", "phone", "browser", "screen", "years"):
        facts[key] = _name(key, split, rng)
    facts["street"] = f"{_name('street', split, rng)} {rng.randint(1, 140)}"
    facts["area"] = rng.choice(str(sector["area"]).split("\n")[:3])
    facts["org"] = rng.choice(str(sector["org"]).strip().split("\n")).format_map(facts)
    return facts
