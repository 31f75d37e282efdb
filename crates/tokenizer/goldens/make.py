# open_clip_torch==3.3.0 ftfy==6.3.1 regex==2026.11.15
"""Writes prompts.json beside this file: awkward prompts and what open_clip's tokenizer makes of them (77 ids, the zeros behind
the last left out). Rerun only when a prompt is added: `python make.py`."""

import json
import pathlib

from open_clip.tokenizer import SimpleTokenizer

PROMPTS = [
    "", " ", "a photo of a cat.", "A PHOTO OF A CAT", "itap of a Shih-Tzu.", "a 3D-printed T-shirt/top, isn't it?",
    "  Multiple   spaces\tand\nnewlines \r\n and\u2028more\u3000ideographic\xa0ones", "don't we'll they've I'm you're he'd it's 'sun",
    "1990's 12,345.67 ½ ² Ⅷ ٣ 四", "Ünïcödé café naïve 北京 🐱🚀 👩‍👩‍👧 🏴\U000e0067\U000e0062", "ÎŞIK İstanbul ΟΔΥΣΣΕΥΣ STRASSE ẞ",
    "e\u0301 vs é, A\u030a vs Å", "100% &amp; &lt;tag&gt; &#39;x&#x27; &hellip; &EACUTE;t&eacute; &SZLIG; &nbsp;&semi;",
    "&amp;amp;lt; &ampx &notit; &copy2024 &COPYSR; &unknown; &; & &#; &#x; &a", "a < b &eacute; &rsquo;s\nand &lt; in the next line",
    "&#0; &#1; &#128; &#129; &#xD800; &#x110000; &#99999999999; &#13; &#xFFFE; &#x1F431;", "<start_of_text> inside <END_OF_TEXT> and <|endoftext|>",
    "ﬁne oﬃce ŉ Ĳssel Ǆ ＬＯＵＤ　ＮＯＩＳＥＳ ｱｲｳ ￡", "“curly” ‘quotes’ „low“ ʼapostrophe «guillemets»", "\ufeffbom \x1b[31mred\x1b[0m bell\x07 \x00null soft\xadhyphen zero\u200bwidth",
    "dÃ©jÃ\xa0 vu", "âœ” No problems", "the MontrÃ©al cafÃ© â€œquotedâ€\x9d", "ã\x81\x93ã\x82\x93ã\x81«ã\x81¡ã\x81¯", "ÃƒÂ©tÃƒÂ©", "ðŸ˜€ ðŸ\x8d\x95",
    "déjà vu, où est l’été? ¡Olé! ¿Qué? 5 £ × 3² = µ", "Å is a letter, Ã is not, São Paulo, Ñandú, Ønsker", "what is this \x85 I don't \x93even\x94",
    "word " * 90, "supercalifragilisticexpialidocious" * 12, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "!!!???...,,,---___***", "http://example.com/?q=a&b=c#d",
]

tokenizer = SimpleTokenizer()
rows = []
for prompt, ids in zip(PROMPTS, tokenizer(PROMPTS).tolist()):
    while ids[-1] == 0:
        ids.pop()
    rows.append({"prompt": prompt, "ids": ids})
lines = ",\n".join(json.dumps(row) for row in rows)
(pathlib.Path(__file__).parent / "prompts.json").write_text(f"[\n{lines}\n]\n")
