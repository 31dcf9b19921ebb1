// Unicode's normal form C, for the tokenizers that want it; 0020-nfc.patch puts it in place.

#pragma once

#include <string>

// Whether the tokenizer of this name (the model file's tokenizer.ggml.pre) normalises its texts in
// Hugging Face's library.
bool jina_normalises(const std::string & tokenizer_pre);

// True for a text that is in this form already; finding that out costs next to nothing.
bool jina_is_nfc(const std::string & text);

// Normalises a text: composed characters where there are any, marks in one order. It has at most three
// times as many bytes then (Unicode's Normalization FAQ), and at least a third.
void jina_to_nfc(std::string & text);

// Normalises what stands between special tokens, as the library does: those are found in the text as
// it came. `normal` is to live as long as the fragments, which refer to it.
template <typename Fragments>
void jina_normalise(Fragments & fragments, std::string & normal, const std::string & tokenizer_pre) {
    if (!jina_normalises(tokenizer_pre)) {
        return;
    }
    auto before = fragments.before_begin();
    for (auto it = fragments.begin(); it != fragments.end(); before = it++) {
        std::string text = it->raw_text.substr(it->offset, it->length); // of a special token: nothing
        if (!jina_is_nfc(text)) {
            jina_to_nfc(text);
            normal += text;
            it = fragments.emplace_after(it, normal, normal.size() - text.size(), text.size());
            fragments.erase_after(before);
        }
    }
}
