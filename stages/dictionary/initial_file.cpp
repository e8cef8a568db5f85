#include "stages/dictionary/initial_file.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>

#include "cluster/error.hpp"

namespace quench::dictionary {

namespace {

constexpr auto stage = "initial";
constexpr std::int64_t schema = 1;
constexpr auto coefficients = "coefficients";

}  // namespace

InitialFile::InitialFile(const std::filesystem::path& file, std::int64_t rank, std::int64_t vocab)
    : file_(file),
      store_(file, stage, schema),
      rank_(rank),
      tokens_(store_.read<std::int32_t>("tokens")) {
  const auto fail = [&](const std::string& what) {
    throw DataError(file.string() + ": " + what + " (docs/file-formats.md, initial.h5)");
  };
  const std::vector<std::int64_t> expected{std::ssize(tokens_), rank};
  if (store_.shape(coefficients) != expected)
    fail("coefficients are not " + std::to_string(expected[0]) + " x " + std::to_string(rank) +
         ", a row a token and a column a feature (dictionary.rank)");
  if (!tokens_.empty()) store_.read_rows<float>(coefficients, {0, 1});  // or says what they are
  if (std::ranges::adjacent_find(tokens_, std::greater_equal<>()) != tokens_.end())
    fail("tokens do not ascend");
  if (!tokens_.empty() && (tokens_.front() < 0 || tokens_.back() >= vocab))
    fail("tokens are outside of the model's " + std::to_string(vocab));
}

void InitialFile::require(std::span<const std::int32_t> tokens) const {
  std::vector<std::int32_t> missing;
  std::ranges::set_difference(tokens, tokens_, std::back_inserter(missing));
  if (missing.empty()) return;
  throw DataError(file_.string() + ": no coefficients for " + std::to_string(missing.size()) +
                  " of the " + std::to_string(tokens.size()) +
                  " tokens of a factorisation, the first of them " +
                  std::to_string(missing.front()) +
                  "; a file with a row for every token of the vocabulary always suits");
}

InitialRows InitialFile::rows_of(std::span<const std::int32_t> tokens) const {
  return [this, tokens](std::int64_t first, std::int64_t count) {
    auto out = at::empty({count, rank_}, at::kFloat);
    if (count == 0) return out;
    const auto wanted = tokens.subspan(first, count);
    require(wanted);
    const auto place = [&](std::int32_t token) {
      return std::ranges::lower_bound(tokens_, token) - tokens_.begin();
    };
    constexpr std::int64_t most = 4096;  // rows of the file at once
    const std::int64_t last = place(wanted.back());
    std::int64_t begin = 0, end = 0;
    std::vector<float> numbers;
    float* to = out.mutable_data_ptr<float>();
    for (const auto token : wanted) {
      const auto at = place(token);
      if (at >= end) {
        begin = at;
        end = std::min(begin + most, last + 1);
        numbers = store_.read_rows<float>(coefficients, {begin, end});
      }
      const auto* row = numbers.data() + (at - begin) * rank_;
      if (!std::ranges::all_of(std::span(row, rank_), [](float x) { return std::isfinite(x); }))
        throw DataError(file_.string() + ": the coefficients of token " + std::to_string(token) +
                        " are not all finite numbers");
      to = std::copy_n(row, rank_, to);
    }
    return out;
  };
}

InitialRows initial_rows(const Shard& shard, std::span<const std::int32_t> tokens,
                         const Options& options, const std::string& purpose,
                         const InitialFile* file, cluster::Communicator& group) {
  if (file != nullptr) return file->rows_of(tokens);
  return options.init == "svd" ? svd_initial(shard, options, purpose, group)
                               : normal_initial(options, purpose);
}

}  // namespace quench::dictionary
