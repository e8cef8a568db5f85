#include "model/tokenizer/bpe.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include "model/tokenizer/unicode.hpp"

namespace quench::model::tokenization {

// Merges the tokens of one word after the other; keeps its memory between words.
class BytePairEncoder::Merger {
 public:
  explicit Merger(const BytePairEncoder& encoder) : encoder_(encoder) {}

  // Replaces `ids`, the first tokens of a word, by its merged ones.
  void merge(std::vector<std::int32_t>& ids) {
    start(ids);
    while (!queue_.empty()) {
      std::pop_heap(queue_.begin(), queue_.end());
      const Candidate top = queue_.back();
      queue_.pop_back();
      if (still_stands(top)) apply(top);
    }
    ids.clear();
    for (const Symbol& symbol : symbols_) {
      if (symbol.id != kMerged) ids.push_back(symbol.id);
    }
  }

 private:
  static constexpr std::int32_t kMerged = -1;
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  struct Symbol {
    std::int32_t id;
    std::size_t previous, next;
  };
  struct Candidate {
    Merge merge;
    std::size_t left;
    // std::push_heap puts the largest on top: lowest rank, then leftmost.
    bool operator<(const Candidate& other) const {
      return std::tie(other.merge.rank, other.left) < std::tie(merge.rank, left);
    }
  };

  void start(const std::vector<std::int32_t>& ids) {
    symbols_.clear();
    queue_.clear();
    for (std::size_t i = 0; i < ids.size(); ++i) {
      symbols_.push_back({ids[i], i == 0 ? kNone : i - 1, i + 1 == ids.size() ? kNone : i + 1});
    }
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      if (const Merge* merge = encoder_.find_merge(ids[i], ids[i + 1]))
        queue_.push_back({*merge, i});
    }
    std::make_heap(queue_.begin(), queue_.end());
  }

  // An earlier merge may have changed either side since the candidate was queued.
  bool still_stands(const Candidate& candidate) const {
    const Symbol& left = symbols_[candidate.left];
    if (left.id == kMerged || left.next == kNone) return false;
    const Merge* merge = encoder_.find_merge(left.id, symbols_[left.next].id);
    return merge != nullptr && merge->id == candidate.merge.id;
  }

  void apply(const Candidate& candidate) {
    Symbol& left = symbols_[candidate.left];
    Symbol& right = symbols_[left.next];
    left.id = candidate.merge.id;
    left.next = right.next;
    right.id = kMerged;
    if (left.next != kNone) symbols_[left.next].previous = candidate.left;
    if (left.previous != kNone) push(left.previous);
    if (left.next != kNone) push(candidate.left);
  }

  void push(std::size_t left) {
    const Symbol& symbol = symbols_[left];
    const Merge* merge = encoder_.find_merge(symbol.id, symbols_[symbol.next].id);
    if (merge == nullptr) return;
    queue_.push_back({*merge, left});
    std::push_heap(queue_.begin(), queue_.end());
  }

  const BytePairEncoder& encoder_;
  std::vector<Symbol> symbols_;
  std::vector<Candidate> queue_;
};

void BytePairEncoder::encode(const Words& words, std::vector<std::int32_t>& ids) const {
  Merger merger(*this);
  std::vector<std::int32_t> word_ids;
  for (const Span& span : words.spans) {
    const std::string_view word = span.of(words.text);
    if (ignore_merges_) {
      if (const auto whole = token_to_id(word)) {
        ids.push_back(*whole);
        continue;
      }
    }
    word_ids.clear();
    start_ids(word, word_ids);
    if (word_ids.size() > 1) merger.merge(word_ids);
    ids.insert(ids.end(), word_ids.begin(), word_ids.end());
  }
}

// A token a character; where there is none, those of its bytes, or the unknown token. As in the
// reference tokenizer a pending unknown token is put before the next character that has a token of
// its own, and a character without any of the three is left out.
void BytePairEncoder::start_ids(std::string_view word, std::vector<std::int32_t>& ids) const {
  bool pending = false;
  for (std::size_t at = 0; at < word.size();) {
    const std::string_view character = character_at(word, at);
    at += character.size();
    if (const auto id = token_to_id(character)) {
      if (std::exchange(pending, false)) ids.push_back(*unknown_id_);
      ids.push_back(*id);
    } else if (!append_bytes(character, ids) && unknown_id_) {
      if (pending && !fuse_unknown_) ids.push_back(*unknown_id_);
      pending = true;
    }
  }
  if (pending) ids.push_back(*unknown_id_);
}

bool BytePairEncoder::append_bytes(std::string_view character,
                                   std::vector<std::int32_t>& ids) const {
  const auto id_of = [&](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
  if (byte_ids_.empty() || !std::all_of(character.begin(), character.end(), id_of)) return false;
  for (const char c : character) ids.push_back(*id_of(c));
  return true;
}

const BytePairEncoder::Merge* BytePairEncoder::find_merge(std::int32_t left,
                                                          std::int32_t right) const {
  const auto found = merges_.find(pair_key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

std::optional<std::int32_t> BytePairEncoder::token_to_id(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<std::string_view> BytePairEncoder::id_to_token(std::int32_t id) const {
  if (id < 0 || id >= size() || tokens_[id].data() == nullptr) return std::nullopt;
  return tokens_[id];
}

}  // namespace quench::model::tokenization
