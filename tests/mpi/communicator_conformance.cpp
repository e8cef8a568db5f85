#include "communicator_conformance.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <numeric>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"

namespace quench::testing {
namespace {

using namespace cluster;

// Rank r contributes r items.
std::vector<std::int64_t> rising_counts(int size) { return numbers<std::int64_t>(size, 0); }

void names_its_ranks(Communicator& comm) {
  std::vector<int> ranks(comm.size(), -1);
  const std::int32_t mine = comm.rank();
  comm.all_gather_v({&mine, 1, DType::i32}, buffer_of(std::span(ranks)),
                    std::vector<std::int64_t>(comm.size(), 1));
  EXPECT_EQ(ranks, numbers(comm.size(), 0));
}

template <typename T>
void broadcast_of_type(Communicator& comm) {
  for (int root = 0; root < comm.size(); ++root) {
    std::vector<T> values(11, T{0});
    if (comm.rank() == root) values = numbers<T>(11, static_cast<T>(root + 1));
    broadcast_from(comm, root, std::span<T>(values));
    EXPECT_EQ(values, numbers<T>(11, static_cast<T>(root + 1))) << "root " << root;
  }
}

void broadcasts_every_type(Communicator& comm) {
  broadcast_of_type<std::uint8_t>(comm);
  broadcast_of_type<std::int32_t>(comm);
  broadcast_of_type<std::int64_t>(comm);
  broadcast_of_type<std::uint64_t>(comm);
  broadcast_of_type<float>(comm);
  broadcast_of_type<double>(comm);
}

void broadcasts_values_and_text(Communicator& comm) {
  const int last = comm.size() - 1;
  const std::string text(comm.rank() == last ? std::string("Umlaut: \xc3\xa4\0!", 12)
                                             : std::string(comm.rank(), 'x'));
  EXPECT_EQ(broadcast_string(comm, last, text), std::string("Umlaut: \xc3\xa4\0!", 12));
  EXPECT_EQ(broadcast_string(comm, 0, comm.rank() == 0 ? "" : "not empty"), "");
  EXPECT_EQ(broadcast_value(comm, last, 1.5 * (comm.rank() + 1)), 1.5 * comm.size());
}

template <typename T>
void reduction_of_type(Communicator& comm) {
  const int size = comm.size();
  const auto reduced = [&](Op op) {
    auto values = numbers<T>(10, static_cast<T>(comm.rank() + 1));  // element i: rank + 1 + i
    comm.all_reduce(buffer_of(std::span<T>(values)), op);
    return values;
  };
  const auto sum = reduced(Op::sum), max = reduced(Op::max), min = reduced(Op::min);
  const int first = size * (size + 1) / 2;
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(sum[i], static_cast<T>(first + size * i)) << "element " << i;
  EXPECT_EQ(max, numbers<T>(10, static_cast<T>(size)));
  EXPECT_EQ(min, numbers<T>(10, T{1}));
}

void reduces_every_type(Communicator& comm) {
  reduction_of_type<std::uint8_t>(comm);
  reduction_of_type<std::int32_t>(comm);
  reduction_of_type<std::int64_t>(comm);
  reduction_of_type<std::uint64_t>(comm);
  reduction_of_type<float>(comm);
  reduction_of_type<double>(comm);
}

void reduces_values_beyond_32_bits(Communicator& comm) {
  const std::int64_t large = std::int64_t{1} << 40;
  EXPECT_EQ(all_reduce_value(comm, -large - comm.rank(), Op::min), -large - comm.size() + 1);
  EXPECT_EQ(all_reduce_value(comm, std::uint64_t{1} << 63 | comm.rank(), Op::max),
            std::uint64_t{1} << 63 | (comm.size() - 1u));
}

// Values of very different sizes, so that the order of summation shows in the bits.
void reduces_to_the_same_bits_everywhere(Communicator& comm) {
  constexpr int count = 1000;
  std::vector<float> values(count);
  for (int i = 0; i < count; ++i)
    values[i] = 0.1f * static_cast<float>((i * 7919 + comm.rank() * 104729) % 1000 - 400) *
                static_cast<float>(1 << (3 * ((i + comm.rank()) % 7)));
  std::vector<double> exact(values.begin(), values.end());
  all_reduce_sum(comm, std::span<float>(values));
  all_reduce_sum(comm, std::span<double>(exact));
  const auto all = all_gather(comm, std::span<const float>(values));
  for (int r = 0; r < comm.size(); ++r)
    for (int i = 0; i < count; ++i)
      ASSERT_EQ(std::bit_cast<std::uint32_t>(all.of(r)[i]), std::bit_cast<std::uint32_t>(values[i]))
          << "element " << i << " on rank " << r;
  for (int i = 0; i < count; ++i) EXPECT_NEAR(values[i], exact[i], comm.size() * 2.0) << i;
}

void gathers_pieces_of_different_sizes(Communicator& comm) {
  const auto local = numbers<std::int64_t>(comm.rank(), 1000 * (comm.rank() + 1));
  const auto all = all_gather(comm, std::span<const std::int64_t>(local));
  ASSERT_EQ(all.offsets.size(), comm.size() + 1u);
  EXPECT_EQ(all.values.size(), comm.size() * (comm.size() - 1u) / 2);
  for (int r = 0; r < comm.size(); ++r) {
    const std::vector<std::int64_t> piece(all.of(r).begin(), all.of(r).end());
    EXPECT_EQ(piece, numbers<std::int64_t>(r, 1000 * (r + 1))) << "rank " << r;
  }
}

void gathers_when_one_rank_has_everything(Communicator& comm) {
  const int last = comm.size() - 1;
  const auto local = numbers<float>(comm.rank() == last ? 23 : 0, 1.0f);
  const auto all = all_gather(comm, std::span<const float>(local));
  EXPECT_EQ(all.values, numbers<float>(23, 1.0f));
  EXPECT_EQ(all.of(last).size(), 23u);
}

void gathers_nothing_from_anyone(Communicator& comm) {
  EXPECT_TRUE(all_gather(comm, std::span<const char>()).values.empty());
}

void scatter_with(Communicator& comm, const std::vector<std::int64_t>& counts) {
  const int size = comm.size();
  const auto total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  const auto begin = std::accumulate(counts.begin(), counts.begin() + comm.rank(), std::int64_t{0});
  std::vector<double> in(total), sum(counts[comm.rank()], -1), max(sum);
  for (std::int64_t i = 0; i < total; ++i) in[i] = static_cast<double>((comm.rank() + 1) * (i + 1));
  const auto before = in;
  const ConstBuffer whole{in.data(), total, DType::f64};
  comm.reduce_scatter_v(whole, buffer_of(std::span(sum)), counts, Op::sum);
  comm.reduce_scatter_v(whole, buffer_of(std::span(max)), counts, Op::max);
  for (std::int64_t i = 0; i < counts[comm.rank()]; ++i) {
    EXPECT_EQ(sum[i], (begin + i + 1) * size * (size + 1) / 2.0) << "element " << i;
    EXPECT_EQ(max[i], (begin + i + 1) * size) << "element " << i;
  }
  EXPECT_EQ(in, before);
}

void scatters_reductions(Communicator& comm) {
  scatter_with(comm, rising_counts(comm.size()));
  std::vector<std::int64_t> all_to_last(comm.size(), 0);
  all_to_last.back() = 13;
  scatter_with(comm, all_to_last);
  scatter_with(comm, std::vector<std::int64_t>(comm.size(), 5));
}

// Odd and even ranks, in reversed order, and each half once more.
void splits_into_groups(Communicator& comm) {
  const int color = comm.rank() % 2;
  auto half = comm.split(color, -comm.rank());
  const auto members = all_gather(*half, std::span<const int>(std::vector{comm.rank()})).values;
  auto alone = half->split(half->rank(), 0);
  const int own_sum = all_reduce_value(*alone, comm.rank() + 1, Op::sum);
  const int both = all_reduce_value(comm, half->size(), Op::max);

  std::vector<int> expected;
  for (int r = comm.size() - 1; r >= 0; --r)
    if (r % 2 == color) expected.push_back(r);
  EXPECT_EQ(members, expected);
  EXPECT_EQ(half->size(), static_cast<int>(expected.size()));
  EXPECT_EQ(expected[half->rank()], comm.rank());
  EXPECT_EQ(alone->size(), 1);
  EXPECT_EQ(own_sum, comm.rank() + 1);
  EXPECT_EQ(both, (comm.size() + 1) / 2);
}

// Groups do not wait for each other.
void groups_work_independently(Communicator& comm) {
  auto group = comm.split(comm.rank() % 2, comm.rank());
  int sum = 0;
  for (int i = 0; i < 50 * (1 + comm.rank() % 2); ++i)
    sum += all_reduce_value(*group, std::int32_t{1}, Op::sum);
  EXPECT_EQ(sum, 50 * (1 + comm.rank() % 2) * group->size());
}

void finds_its_node(Communicator& comm) {
  auto node = comm.split_by_node();
  const auto members = all_gather(*node, std::span<const int>(std::vector{comm.rank()})).values;
  EXPECT_EQ(members, numbers(comm.size(), 0));  // the tests run on one node
}

void shares_memory(Communicator& comm) {
  auto node = comm.split_by_node();
  constexpr std::int64_t bytes = 100'003;
  auto memory = node->shared_memory(bytes);
  std::byte* data = memory->data();
  const bool zero = std::all_of(data, data + bytes, [](std::byte b) { return b == std::byte{0}; });
  node->barrier();
  if (node->rank() == 0)
    for (std::int64_t i = 0; i < bytes; ++i) data[i] = static_cast<std::byte>(i % 251 + 1);
  node->barrier();
  const std::vector<std::byte> seen(data, data + bytes);
  EXPECT_EQ(memory->bytes(), bytes);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(data) % 64, 0u);
  EXPECT_TRUE(zero);
  for (std::int64_t i = 0; i < bytes; ++i)
    ASSERT_EQ(seen[i], static_cast<std::byte>(i % 251 + 1)) << "byte " << i;
  EXPECT_EQ(node->shared_memory(0)->bytes(), 0);
}

void ranks_agree_on_success(Communicator& comm) {
  bool ran = false;
  EXPECT_NO_THROW(agree(comm, [&] { ran = true; }));
  EXPECT_TRUE(ran);
}

template <typename Thrown, typename Expected>
void expect_agreement(Communicator& comm, const Thrown& thrown, ExitCode code) {
  const int failing = comm.size() / 2;  // and those above it, with other words
  std::string message = "nothing thrown";
  ExitCode seen = ExitCode::done;
  try {
    agree(comm, [&] {
      if (comm.rank() == failing) throw thrown;
      if (comm.rank() > failing) throw InternalError("not the lowest");
    });
  } catch (const Expected& error) {
    message = error.what();
    seen = error.code();
  } catch (const std::exception& error) {
    message = std::string("another type: ") + error.what();
  }
  EXPECT_EQ(message, thrown.what());
  EXPECT_EQ(seen, code);
}

void ranks_agree_on_failure(Communicator& comm) {
  expect_agreement<DataError, DataError>(comm, DataError("corpus.h5: truncated"), ExitCode::usage);
  expect_agreement<ConfigError, ConfigError>(comm, ConfigError("rank = 0"), ExitCode::usage);
  expect_agreement<ClusterError, ClusterError>(comm, ClusterError("MPI"), ExitCode::internal);
  expect_agreement<Stopped, Stopped>(comm, Stopped("SIGTERM"), ExitCode::stopped);
  expect_agreement<Error, Error>(comm, Error(ExitCode::waiting, "judge"), ExitCode::waiting);
  expect_agreement<std::runtime_error, InternalError>(comm, std::runtime_error("bug"),
                                                      ExitCode::internal);
  comm.barrier();  // nobody is left behind
}

void any_rank_counts(Communicator& comm) {
  EXPECT_FALSE(any_of(comm, false));
  EXPECT_TRUE(any_of(comm, comm.rank() == comm.size() - 1));
}

void refuses_wrong_arguments(Communicator& comm) {
  std::vector<std::int64_t> counts(comm.size(), 2);
  std::vector<float> two(2), all(2 * comm.size()), other(3);
  const ConstBuffer local{two.data(), 2, DType::f32};
  EXPECT_THROW(comm.broadcast(buffer_of(std::span(two)), comm.size()), InternalError);
  EXPECT_THROW(comm.broadcast(buffer_of(std::span(two)), -1), InternalError);
  EXPECT_THROW(comm.all_gather_v(local, {all.data(), 2 * comm.size() + 1, DType::f32}, counts),
               InternalError);
  EXPECT_THROW(comm.all_gather_v(local, {all.data(), 2 * comm.size(), DType::i32}, counts),
               InternalError);
  EXPECT_THROW(comm.reduce_scatter_v({all.data(), 2 * comm.size(), DType::f32},
                                     buffer_of(std::span(other)), counts, Op::sum),
               InternalError);
  counts.push_back(0);
  EXPECT_THROW(comm.all_gather_v(local, buffer_of(std::span(all)), counts), InternalError);
  comm.barrier();
}

}  // namespace

std::vector<ConformanceCheck> collective_checks() {
  return {
      {"NamesItsRanks", names_its_ranks},
      {"BroadcastsEveryType", broadcasts_every_type},
      {"BroadcastsValuesAndText", broadcasts_values_and_text},
      {"ReducesEveryType", reduces_every_type},
      {"ReducesValuesBeyond32Bits", reduces_values_beyond_32_bits},
      {"ReducesToTheSameBitsEverywhere", reduces_to_the_same_bits_everywhere},
      {"GathersPiecesOfDifferentSizes", gathers_pieces_of_different_sizes},
      {"GathersWhenOneRankHasEverything", gathers_when_one_rank_has_everything},
      {"GathersNothingFromAnyone", gathers_nothing_from_anyone},
      {"ScattersReductions", scatters_reductions},
      {"SplitsIntoGroups", splits_into_groups},
      {"GroupsWorkIndependently", groups_work_independently},
      {"FindsItsNode", finds_its_node},
      {"SharesMemory", shares_memory},
      {"RanksAgreeOnSuccess", ranks_agree_on_success},
      {"RanksAgreeOnFailure", ranks_agree_on_failure},
      {"AnyRankCounts", any_rank_counts},
      {"RefusesWrongArguments", refuses_wrong_arguments},
  };
}

std::vector<ConformanceCheck> conformance_checks() {
  auto checks = collective_checks();
  std::ranges::move(ticket_checks(), std::back_inserter(checks));
  return checks;
}

}  // namespace quench::testing
