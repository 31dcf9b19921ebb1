#include "jina-vectors.h"

#include "base64.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

using ordered_json = nlohmann::ordered_json;

std::vector<float> jina_decode(const std::string & text) {
    const std::string  bytes = base64::decode(text);
    std::vector<float> vector(bytes.size() / sizeof(float));
    std::memcpy(vector.data(), bytes.data(), vector.size() * sizeof(float));
    return vector;
}

std::vector<float> jina_shorten(std::vector<float> vector, size_t size) {
    vector.resize(std::min(size, vector.size()));
    double sum = 0.0;
    for (float number : vector) {
        sum += (double) number * number;
    }
    const double length = std::sqrt(sum);
    if (length > 0.0) {
        for (float & number : vector) {
            number = (float) (number / length);
        }
    }
    return vector;
}

namespace {

int clamped(float value, int least, int most) {
    return std::min(most, std::max(least, (int) std::nearbyint(value)));
}

std::vector<int> packed_signs(const std::vector<float> & vector) {
    std::vector<int> bytes((vector.size() + 7) / 8);
    for (size_t i = 0; i < vector.size(); i++) {
        bytes[i / 8] |= (vector[i] > 0) << (7 - i % 8);
    }
    return bytes;
}

std::vector<int> quantised(const std::vector<float> & vector, jina_numbers numbers) {
    std::vector<int> whole;
    if (numbers == JINA_INT8) {
        for (float number : vector) {
            whole.push_back(clamped(number * 127.0f, -128, 127));
        }
    } else if (numbers == JINA_UINT8) {
        for (float number : vector) {
            whole.push_back(clamped((number + 1.0f) * 127.5f, 0, 255));
        }
    } else {
        whole = packed_signs(vector);
        if (numbers == JINA_BINARY) {
            for (int & byte : whole) {
                byte -= 128;
            }
        }
    }
    return whole;
}

} // namespace

ordered_json jina_write(const std::vector<float> & vector, jina_numbers numbers, bool base64) {
    if (numbers == JINA_FLOAT) {
        return base64 ? ordered_json(base64::encode(reinterpret_cast<const char *>(vector.data()), vector.size() * sizeof(float)))
                      : ordered_json(vector);
    }
    const std::vector<int> whole = quantised(vector, numbers);
    if (!base64) {
        return whole;
    }
    std::string bytes;
    for (int number : whole) {
        bytes += (char) number;
    }
    return base64::encode(bytes.data(), bytes.size());
}
