"""Seeded lines of hard Unicode for the tokenizer's parity test: valid UTF-8, no surrogates."""

import random

SCRIPTS = [  # first and last code point of what a piece of text is drawn from
    (0x20, 0x7E), (0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x17F), (0x180, 0x24F), (0x250, 0x36F), (0x370, 0x3FF),
    (0x400, 0x52F), (0x530, 0x58F), (0x590, 0x5FF), (0x600, 0x6FF), (0x700, 0x7BF), (0x840, 0x89F), (0x8A0, 0x97F),
    (0x980, 0xDFF), (0xE00, 0xFFF), (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x139F),
    (0x13A0, 0x167F), (0x1680, 0x17FF), (0x1800, 0x18AF), (0x1900, 0x1CFF), (0x1D00, 0x1DFF), (0x1E00, 0x1FFF),
    (0x2000, 0x206F), (0x2070, 0x20CF), (0x20D0, 0x218F), (0x2190, 0x245F), (0x2460, 0x24FF), (0x2500, 0x2BFF),
    (0x2C00, 0x2DFF), (0x2E00, 0x2FFF), (0x3000, 0x30FF), (0x3100, 0x33FF), (0x3400, 0x4DFF), (0x4E00, 0x9FFF),
    (0xA000, 0xA4CF), (0xA4D0, 0xABFF), (0xAC00, 0xD7FF), (0xE000, 0xF8FF), (0xF900, 0xFAFF), (0xFB00, 0xFDFF),
    (0xFE00, 0xFE6F), (0xFE70, 0xFEFF), (0xFF00, 0xFFFF), (0x10000, 0x103DF), (0x10400, 0x10FFF), (0x11000, 0x11FFF),
    (0x12000, 0x1254F), (0x13000, 0x1467F), (0x16100, 0x1617F), (0x16A00, 0x16FFF), (0x17000, 0x18CFF),
    (0x1B000, 0x1B2FF), (0x1BC00, 0x1CFFF), (0x1D000, 0x1D3FF), (0x1D400, 0x1D7FF), (0x1DF00, 0x1E4FF),
    (0x1E5D0, 0x1E95F), (0x1EC70, 0x1EEFF), (0x1F000, 0x1F2FF), (0x1F300, 0x1F6FF), (0x1F700, 0x1FAFF),
    (0x1FB00, 0x1FBFF), (0x20000, 0x2A6DF), (0x2A700, 0x2EE5F), (0x2F800, 0x2FA1F), (0x30000, 0x323AF),
    (0x323B0, 0x3FFFF), (0xE0000, 0xE01EF), (0xF0000, 0x10FFFF), (0x0, 0x10FFFF),
]
WORDS = ("the a of and golf putting green Harry Potter uranium-235 U.S.A. e.g. don't can't we'll I'd they've it's "
         "IT'S DON'T we'RE I'M He'D naïve café Москва 東京 서울 مرحبا שלום नमस्ते ภาษาไทย 'ſ ß ﬁ İstanbul").split()
SPACES = " \t\n\r\x0b\x0c\x85\xa0\u1680\u180e\u2000\u2009\u200a\u2028\u2029\u202f\u205f\u3000\u200b\ufeff\x1c\x1f"
DIGITS = "0123456789٠٣९๓１²³¼½ⅧⅫ①⑳㊿𝟘𝟡𐒠\U00011DE0\U00016FF4"
EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇺🇸", "1️⃣", "❤️", "🧑🏿‍🚀", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "‍", "️"]
CONTROLS = [chr(c) for c in (*range(0x20), 0x7F, *range(0x80, 0xA0), 0x200E, 0x202E, 0x2066, 0xFFF9, 0xFFFD, 0xFFFE)]
MARKS = [chr(c) for c in (*range(0x300, 0x370), 0x5B0, 0x64B, 0x93C, 0xE48, 0x20D0, 0x3099, 0xFE20, 0x1DC0, 0x1E8D0)]


def scripted(rng):
    first, last = rng.choice(SCRIPTS)
    codes = (rng.randint(first, last) for _ in range(rng.randint(1, 12)))
    return "".join(chr(c) for c in codes if not 0xD800 <= c < 0xE000)


def run(rng, characters):
    longest = rng.choice((2, 5, 40, 300))
    return rng.choice(characters) * rng.randint(1, longest)


def piece(rng, special_tokens):
    kind = rng.randrange(12)
    if kind < 3:
        return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 8)))
    if kind < 6:
        return scripted(rng)
    if kind == 6:
        return "".join(rng.choice(EMOJI) for _ in range(rng.randint(1, 4)))
    if kind == 7:
        return rng.choice("aeyकกא") + "".join(rng.choice(MARKS) for _ in range(rng.randint(1, 6)))
    if kind == 8:
        return rng.choice((run(rng, SPACES), run(rng, " \n\t"), "".join(rng.choices(SPACES, k=rng.randint(1, 9)))))
    if kind == 9:
        return rng.choice((run(rng, DIGITS), "".join(rng.choices(DIGITS, k=rng.randint(1, 12)))))
    if kind == 10:
        return rng.choice((rng.choice(CONTROLS), run(rng, "a'-_.=▁<|[😀Ġ"), "▁", "<0x0A>", "<0xE2>"))
    token = rng.choice(special_tokens)
    return rng.choice((token, token * rng.randint(2, 40), token[:-1], token[1:], token.upper(), " " + token + " "))


def lines(seed, count, special_tokens):
    """`count` texts; special_tokens: texts that the tokenizer treats specially, strewn in."""
    rng = random.Random(seed)
    joints = ("", "", " ", "\n")
    return [
        "".join(piece(rng, special_tokens) + rng.choice(joints) for _ in range(rng.randint(1, 10))) for _ in range(count)
    ]
