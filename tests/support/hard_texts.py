"""Texts at which tokenizers differ: scripts, marks, blanks, code, numbers, special tokens."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Sequence

#: By what is hard about them.
TEXTS = {
    "english": "The quick brown fox isn't lazy; it's 3.14159 times faster, they'll SAY: WE'VE WON",
    "german": "Größenwahn überm Öltank: Straßenfußball, ähnlich schön",
    "vietnamese": "Tiếng Việt có nhiều dấu thanh và nguyên âm đặc biệt, như ệ, ữ và ọ",
    "chinese": "人工智能的一个分支。機器學習（machine learning）是什么？",
    "japanese": "東京の天気は？ がぎぐげご パピプペポ ヴァイオリンと々〆",
    "korean": "서울 날씨는? 한국어 맞춤법 검사기 값싼 닭볶음탕",
    "jamo": "\u1112\u1161\u11ab\u1100\u1173\u11af \u1100\u1161 \u1161\u11a8 \uac00\u11a8 \u3131\u314f",
    "thai": "สวัสดีครับ น้ำแข็งเปล่าหนึ่งแก้ว ที่นี่ไม่มีผู้ใหญ่",
    "hindi": "नमस्ते दुनिया, क़लम और ज़मीन, \u0928\u093c \u0958",
    "bengali": "\u0995\u09cb\u09a5\u09be\u09df \u0995\u09c7\u09be \u09dc",
    "tamil": "\u0b95\u0bca\u0b9e\u0bcd\u0b9a\u0bae\u0bcd \u0b95\u0bc6\u0bbe",
    "tibetan": "བོད་སྐད་ \u0f43 \u0f71\u0f72 \u0f73",
    "hebrew": "שָׁלוֹם עוֹלָם \ufb2a \ufb4b \u05e9\u05bc\u05c1",
    "arabic": "قاعدة البيانات بطيئة، مُحَمَّدٌ \u0622\u0627\u0653 \ufefb",
    "russian": "Привет, мир! Ёлка и йогурт, её подъезд №5",
    "greek": "Ἀχιλλεύς μῆνιν ἄειδε θεὰ \u1f71 \u2126 \u212b \u212a",
    "marks": "e\u0301 a\u0323\u0302 a\u0302\u0323 q\u0307\u0323 \u0301alone x\u0315\u0316\u0334",
    "long_marks": "Z" + "\u0311\u0316\u0315\u0345" * 12 + "algo",
    "not_composed": "\u0344 \u0340 \u0374 \u037e \u2adc \ufb1d \U0001d15e \U0001d160",
    "later_than_unicode_9": "\U00011935\U00011930 x\u1df6\u0316 \U0001e14e \U0001faf6 \u31bf",
    "compatibility": "\uf900\U0002f800 ﬁne ２０２４ ㎏ ⅷ ½ ﷺ",
    "emoji": "launch🚀👩\u200d👩\u200d👧\u200d👦 🏳️\u200d🌈 👍🏽 🇩🇪🇻🇳 1️⃣ ☺\ufe0e",
    "blanks": "  two   three    four\t\ttabs \t mixed  end   ",
    "unicode_blanks": "a\u00a0b\u3000c\u2003\u2009d\u202f\u200be\u2028f\u2029g\u0085h\ufeffi",
    "lines": "one\n\n  two\r\n\r\nthree\rfour\n\t\nfive\n",
    "only_blanks": " \n \t\r\n   ",
    "controls": "a\u0000b\u0001\u0007\u001b[0m\u007f\u0080\u009fc\u001f",
    "code": "def f(x):\n    return {k: v**2 for k, v in x.items()}  # __init__\n\n\nif a!=b&&c<<=3 {\n\t}",
    "html": "<p class=\"x\"><s>old</s> <b>new</b></p><!-- </s> --> </ s> <br/></s></s>",
    "numbers": "1 12 123 1234 12345 3.14159 1,000,000 0xFF 1e-9 ١٢٣ १२३ ²³ Ⅷ ½ 2024-11-26T07:14:21",
    "contractions": "I'M you'Re it'S we'll WE'LL o'clock 'tis 'S ''s don’t l'été d'",
    "look_alikes": "</s> <s> <unk> <pad> [PAD] <EOT> [INST] <|end|> <|IM_END|> <| im_end |> <|im_end|",
    "special_qwen": "<|im_start|>user\nHi<|im_end|> <|endoftext|><think>no</think> <tool_call>{}</tool_call>",
    "special_llama": "<|begin_of_text|>a<|end_of_text|><|eot_id|> <|reserved_special_token_9|>x",
    "special_mask": "is <|mask|>, is<|mask|> and   \t\n<|mask|><|mask|> <|MASK|> <|mask",
    "marks_at_special": "e<|im_end|>\u0301 <|endoftext|>\u0338 \u1100<|im_start|>\u1161 a\u030a<|im_end|>",
    "long_word": "Donaudampfschifffahrtsgesellschaftskapitän" * 4 + "a" * 300 + "=" * 130,
}

#: A character of each kind, and pieces that tokenizers treat in ways of their own.
_PIECES = (
    *"aZéßøñ0159.,;:!?'\"()[]{}<>|/\\@#$%^&*-_=+~` \t\n\r",
    *("  ", "    ", "\r\n", "\n\n", "\u00a0", "\u3000", "\u200d", "\u200b", "\u0000", "\u001b", "\u0085"),
    *("'s", "'LL", "'Re", "'t", " the", " The", "ing", "ſ", "ﬁ", "İ", "K", "٣", "²", "Ⅷ", "½"),
    *("\u0301", "\u0323", "\u0302", "\u0308", "\u0338", "\u0345", "\u0334", "\u05bc", "\u093c", "\u3099"),
    *("\u1112", "\u1161", "\u11ab", "가", "각", "か", "カ", "中", "文", "ก", "้", "ำ", "क", "ি", "ש", "م", "ّ"),
    *("🚀", "👩", "🏽", "🇩", "\ufe0f", "\u20e3", "\U0001d15e", "\U00020000", "\ufffd", "\ue000"),
    *("</s>", "<s>", "</", "<|", "|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<think>"),
)


def decomposed(text: str) -> str:
    """Return a text as macOS writes file names: in the normal form D."""
    return unicodedata.normalize("NFD", text)


def random_mixes(count: int, seed: int) -> Sequence[str]:
    """Return so many texts of random pieces, some decomposed, always the same for a seed."""
    source = random.Random(seed)
    words = [word for text in TEXTS.values() for word in text.split(" ") if word]
    mixes = []
    for _ in range(count):
        pool = source.choice([_PIECES, words, (*_PIECES, *words)])
        joint = source.choice(["", "", " "])
        text = joint.join(source.choices(pool, k=source.randint(1, 40)))
        mixes.append(decomposed(text) if source.random() < 0.3 else text)
    return mixes
