"""Plain forms of typographic signs: a prompt has curly quotes, and old texts only straight ones."""

from collections.abc import Container

# Telephones and word processors write the left ones by themselves.
PLAIN = {
    **dict.fromkeys("‘’‚‛′", "'"),
    **dict.fromkeys("“”„‟″«»", '"'),
    **dict.fromkeys("‐‑‒–—―", "-"),
    "…": "...",
    **dict.fromkeys("\u00a0\u2009\u202f", " "),
}


def plain_forms(known: Container[str]) -> dict[str, str]:
    """Return which signs to write plainly for a model with these characters, and how.

    Those that it knows stay as they are; what it can spell neither way is not among them.
    """
    return {
        sign: plain
        for sign, plain in PLAIN.items()
        if sign not in known and all(character in known for character in plain)
    }


def plainly(sign: str, known: Container[str]) -> str:
    """Return the end of a message on a sign that is not known: its plain form, where that is."""
    plain = plain_forms(known).get(sign)
    return "" if plain is None else f"; {plain!r} is"
