"""Ids of runs and steps: UUIDs whose first bits are the time (version 7, RFC 9562). Pure."""

RANDOM_BITS = 74


def uuid7(milliseconds: int, random: int) -> str:
    """Return a UUID of a time since 1970 and of `RANDOM_BITS` random bits."""
    value = (
        (milliseconds & (1 << 48) - 1) << 80 | 7 << 76 | (random >> 62 & 0xFFF) << 64 | 2 << 62 | random & (1 << 62) - 1
    )
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
