#include "jina-nfc.h"

#include "jina-nfc-data.h"
#include "unicode.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <unordered_map>
#include <vector>

// The algorithms are those of Unicode Standard Annex 15 and of chapter 3.12 of the Unicode Standard.

namespace {

// The characters before this one, U+0300, are all in NFC and none is a mark. In UTF-8 every character
// from it on begins with a byte of at least this value, which no other byte has.
const unsigned char FIRST_MARK_BYTE = 0xCC;
const uint32_t      FIRST_MARK      = 0x300;

// Hangul: a syllable is computed from its consonant, its vowel and its final consonant.
const uint32_t SYLLABLES  = 0xAC00;
const uint32_t CONSONANTS = 0x1100;
const uint32_t VOWELS     = 0x1161;
const uint32_t FINALS     = 0x11A7; // the first of them stands for none

const uint32_t N_CONSONANTS = 19;
const uint32_t N_VOWELS     = 21;
const uint32_t N_FINALS     = 28;
const uint32_t N_SYLLABLES  = N_CONSONANTS * N_VOWELS * N_FINALS;

struct character {
    uint32_t code;
    uint8_t  combining; // 0: the marks behind it are its own
};

bool within(uint32_t code, uint32_t first, uint32_t count) {
    return code >= first && code - first < count;
}

// What the table says of a character; null for most, at which nothing changes.
const jina_nfc_mark * find_mark(uint32_t code) {
    if (code < FIRST_MARK) {
        return nullptr;
    }
    const jina_nfc_mark * found = std::lower_bound(std::begin(JINA_NFC_MARKS), std::end(JINA_NFC_MARKS), code,
                                                   [](const jina_nfc_mark & each, uint32_t wanted) { return each.last < wanted; });
    return found != std::end(JINA_NFC_MARKS) && found->first <= code ? found : nullptr;
}

uint8_t combining_class(uint32_t code) {
    const jina_nfc_mark * mark = find_mark(code);
    return mark ? mark->combining : 0;
}

// False where the text could be another one in NFC.
bool is_normal(const std::vector<uint32_t> & text) {
    uint8_t last = 0;
    for (uint32_t code : text) {
        const jina_nfc_mark * mark      = find_mark(code);
        const uint8_t         combining = mark ? mark->combining : 0;
        if (mark && (mark->may_change || (combining != 0 && combining < last))) {
            return false;
        }
        last = combining;
    }
    return true;
}

void decompose(uint32_t code, std::vector<character> & parts) {
    static const auto pairs = [] {
        std::unordered_map<uint32_t, const jina_nfc_pair *> by_whole;
        for (const jina_nfc_pair & pair : JINA_NFC_PAIRS) {
            by_whole[pair.whole] = &pair;
        }
        return by_whole;
    }();
    if (within(code, SYLLABLES, N_SYLLABLES)) {
        const uint32_t number = code - SYLLABLES;
        parts.push_back({ CONSONANTS + number / (N_VOWELS * N_FINALS), 0 });
        parts.push_back({ VOWELS + number / N_FINALS % N_VOWELS, 0 });
        if (number % N_FINALS != 0) {
            parts.push_back({ FINALS + number % N_FINALS, 0 });
        }
        return;
    }
    const auto pair = pairs.find(code);
    if (pair == pairs.end()) {
        parts.push_back({ code, combining_class(code) });
        return;
    }
    decompose(pair->second->first, parts);
    if (pair->second->second != 0) {
        decompose(pair->second->second, parts);
    }
}

// The character that is made of the two; 0 where there is none.
uint32_t compose(uint32_t first, uint32_t second) {
    static const auto wholes = [] {
        std::unordered_map<uint64_t, uint32_t> by_parts;
        for (const jina_nfc_pair & pair : JINA_NFC_PAIRS) {
            if (pair.composes) {
                by_parts[(uint64_t) pair.first << 32 | pair.second] = pair.whole;
            }
        }
        return by_parts;
    }();
    if (within(first, CONSONANTS, N_CONSONANTS) && within(second, VOWELS, N_VOWELS)) {
        return SYLLABLES + ((first - CONSONANTS) * N_VOWELS + (second - VOWELS)) * N_FINALS;
    }
    if (within(first, SYLLABLES, N_SYLLABLES) && (first - SYLLABLES) % N_FINALS == 0 && within(second, FINALS + 1, N_FINALS - 1)) {
        return first + (second - FINALS);
    }
    const auto found = wholes.find((uint64_t) first << 32 | second);
    return found == wholes.end() ? 0 : found->second;
}

// Marks that follow each other are put into the order of their classes.
void order(std::vector<character> & text) {
    for (auto begin = text.begin(); begin != text.end();) {
        const auto end = std::find_if(begin, text.end(), [](const character & each) { return each.combining == 0; });
        std::stable_sort(begin, end, [](const character & a, const character & b) { return a.combining < b.combining; });
        begin = end == text.end() ? end : end + 1;
    }
}

// Each mark, or other second part, is put into the character before it that it belongs to, unless a
// mark of its own class stands between them.
std::vector<character> composed(const std::vector<character> & text) {
    std::vector<character> result;
    size_t                 base = SIZE_MAX; // where the last character is that is no mark
    for (const character & each : text) {
        if (base != SIZE_MAX && (base + 1 == result.size() || result.back().combining < each.combining)) {
            const uint32_t whole = compose(result[base].code, each.code);
            if (whole != 0) {
                result[base].code = whole;
                continue;
            }
        }
        if (each.combining == 0) {
            base = result.size();
        }
        result.push_back(each);
    }
    return result;
}

} // namespace

bool jina_normalises(const std::string & tokenizer_pre) {
    // Qwen2's tokenizer, which is Qwen3's and small's. Our models use no other one with a normaliser.
    return tokenizer_pre == "qwen2";
}

bool jina_is_nfc(const std::string & text) {
    const auto may_be_of_a_mark = [](unsigned char byte) { return byte >= FIRST_MARK_BYTE; };
    return std::none_of(text.begin(), text.end(), may_be_of_a_mark) || is_normal(unicode_cpts_from_utf8(text));
}

void jina_to_nfc(std::string & text) {
    std::vector<character> parts;
    for (uint32_t code : unicode_cpts_from_utf8(text)) {
        decompose(code, parts);
    }
    order(parts);
    text.clear();
    for (const character & each : composed(parts)) {
        text += unicode_cpt_to_utf8(each.code);
    }
}
