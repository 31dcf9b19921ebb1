// Where in a shared KV cache a batch's tokens go; 0018-cells-in-order.patch puts it in place.

#pragma once

#include "llama.h"

#include <cstdint>
#include <map>
#include <vector>

// Finds a free cell for each token of a batch, behind all cells that its sequence has: the keys that
// a query sees are then in the order of the text, whatever else is in the cache, and so are the sums
// over them. False, with nothing found, where there is no such place for some token.
template <typename Cells, typename Batch>
bool jina_place_in_order(const Cells & cells, const Batch & batch, std::vector<uint32_t> & found) {
    std::map<llama_seq_id, uint32_t> next; // the first cell that a sequence may take
    for (uint32_t i = 0; i < batch.n_tokens; i++) {
        if (batch.n_seq_id[i] != 1) {
            return false;
        }
        next[batch.seq_id[i][0]] = 0;
    }
    for (auto & [sequence, cell] : next) {
        for (cell = cells.used_max_p1(); cell > 0 && !cells.seq_has(cell - 1, sequence);) {
            cell--;
        }
    }

    std::vector<uint32_t> places;
    std::vector<bool>     taken(cells.size(), false);
    for (uint32_t i = 0; i < batch.n_tokens; i++) {
        uint32_t & cell = next[batch.seq_id[i][0]];
        while (cell < cells.size() && (taken[cell] || !cells.is_empty(cell))) {
            cell++;
        }
        if (cell == cells.size()) {
            return false;
        }
        taken[cell] = true;
        places.push_back(cell);
    }
    found = places;
    return true;
}
