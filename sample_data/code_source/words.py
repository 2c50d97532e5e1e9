"""Words for the slots of the pieces: what programs are about, and how people name things. All invented."""

from __future__ import annotations

import random

ENTITIES = tuple(
    [
        "order",
        "parcel",
        "sensor",
        "invoice",
        "ticket",
        "device",
        "account",
        "booking",
        "route",
        "meter",
        "recipe",
        "tenant",
        "voucher",
        "gateway",
        "alarm",
        "camera",
        "customer",
        "shipment",
        "warehouse",
        "coupon",
        "payment",
        "product",
        "review",
        "student",
        "course",
        "lesson",
        "driver",
        "vehicle",
        "station",
        "ferry",
        "tariff",
        "contract",
        "reading",
        "plant",
        "harvest",
        "field",
        "member",
        "loan",
        "book",
        "author",
        "album",
        "track",
    ]
)
HELDOUT_ENTITIES = tuple(
    [
        "lock",
        "console",
        "router",
        "refund",
        "locker",
        "bridge",
        "permit",
        "vessel",
        "orchard",
        "ballot",
        "gallery",
        "tram",
    ]
)
FIELDS = tuple(
    [
        "name",
        "email",
        "serial",
        "status",
        "code",
        "region",
        "city",
        "price",
        "amount",
        "weight",
        "colour",
        "phone",
        "title",
        "level",
        "score",
        "size",
        "owner",
        "label",
        "stock",
        "rating",
        "kind",
        "country",
    ]
)
HELDOUT_FIELDS = tuple(["postcode", "battery", "floor", "version", "deposit"])
_MADE_UP_RATE = 0.4
_CONNECTIONS = ("db", "connection", "conn", "database")
_SECRETS = ("API_KEY", "SIGNING_KEY", "SMTP_PASSWORD", "DB_PASSWORD", "WEBHOOK_SECRET", "ACCESS_TOKEN", "ADMIN_TOKEN")
_HEX = "0123456789abcdef"
FOLDERS = {
    "python": ("shop", "billing", "fleet", "support", "library", "tools", "reports"),
    "javascript": ("web/src", "web/admin", "portal"),
    "go": ("agent", "gateway/internal", "sync"),
    "sql": ("migrations", "reports/sql"),
}
_ROLES = ("", "_store", "_views", "_client", "_import", "_report", "_jobs")


def choose_words(generator: random.Random, is_heldout: bool, entity: str | None = None) -> dict[str, str]:
    """One filling of all slots; words that training never sees are used in held-out code only."""
    entity = entity or choose_entity(generator, is_heldout)
    field = generator.choice((*FIELDS, *HELDOUT_FIELDS) if is_heldout else FIELDS)
    entities = plural(entity)
    secret = f"{generator.choice(('qm', 'live', 'prod', entity))}-{''.join(generator.choices(_HEX, k=10))}"
    return {
        "entity": entity,
        "entities": entities,
        "Entity": entity.capitalize(),
        "Entities": entities.capitalize(),
        "ENTITY": entity.upper(),
        "ENTITIES": entities.upper(),
        "field": field,
        "Field": field.capitalize(),
        "db": generator.choice(_CONNECTIONS),
        "SECRET": generator.choice(_SECRETS),
        "secret": secret,
        "host": f"{entities}.quillmere.example",
        "port": str(generator.randrange(2000, 9000)),
        "n": str(generator.choice((5, 10, 20, 30, 50, 60, 90, 100, 200, 365))),
    }


def choose_entity(generator: random.Random, is_heldout: bool) -> str:
    """What a file is about; in training often a word that means nothing, or names are learnt and not copied."""
    if is_heldout:
        return generator.choice((*ENTITIES, *HELDOUT_ENTITIES * 2))
    return _made_up_word(generator) if generator.random() < _MADE_UP_RATE else generator.choice(ENTITIES)


def _made_up_word(generator: random.Random) -> str:
    syllables = generator.randint(2, 3)
    return "".join(generator.choice("bcdfglmnprstv") + generator.choice("aeiou") for _ in range(syllables)) + (
        generator.choice("lnrst") if generator.random() < 0.5 else ""
    )


def plural(noun: str) -> str:
    """Of the nouns above: regular ones."""
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch")) else f"{noun}s"


def choose_path(generator: random.Random, language: str, suffix: str, entity: str) -> str:
    """Where a file about this entity may lie."""
    folder = generator.choice(FOLDERS[language])
    if language == "sql":
        return f"{folder}/{generator.randrange(1, 90):04}_{plural(entity)}{suffix}"
    return f"{folder}/{plural(entity)}{generator.choice(_ROLES)}{suffix}"
