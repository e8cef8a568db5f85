#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "stages/selection/statistics.hpp"
#include "stages/types.hpp"

// Labels as the published code looks them up at erasure time: through strings (methods 4.3, 5.1).
// Local: nothing here communicates.
namespace quench::selection {

using TokenText = std::function<std::string(std::int32_t)>;

// A table from decoded string to label is made of the tokens of every feature, the strongest 200 of
// each, the first of equal strings wins; each token is looked up by its vocabulary piece, with the
// marks of spaces replaced. A token that is not found is nobody's (Label::neither), so it is never
// edited: pieces that are not their own text (bytes, in many vocabularies anything not ASCII), and
// those that stand behind the 200th of every feature. Line breaks are escaped on both sides.
std::vector<Label> labels_by_string(const Factors& factors, const std::vector<Label>& labels,
                                    const TokenText& decoded, const TokenText& piece);

}  // namespace quench::selection
