#include "stages/dictionary/initial_file.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cluster/error.hpp"
#include "tests/support/scratch_directory.hpp"

namespace quench::dictionary {
namespace {

using namespace testing;

constexpr std::int64_t rank = 3;
constexpr std::int64_t vocab = 50;

class InitialFileTest : public ::testing::Test {
 protected:
  std::filesystem::path file() const { return directory_ / "initial.h5"; }

  // Coefficient j of token t is 100 t + j.
  void write(const std::vector<std::int32_t>& tokens, float last = 0) const {
    std::vector<float> numbers;
    for (const auto token : tokens)
      for (std::int64_t j = 0; j < rank; ++j)
        numbers.push_back(static_cast<float>(100 * token + j));
    if (last != 0) numbers.back() = last;
    const auto self = cluster::make_self_communicator();
    cluster::StoreWriter store(*self, file(), {"initial", 1, "-", "-"});
    store.write_rows<std::int32_t>("tokens", tokens);
    store.write_rows<float>("coefficients", numbers, {rank});
    store.finish();
  }

  std::string refusal(std::int64_t columns = rank) const {
    try {
      const InitialFile read(file(), columns, vocab);
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  }

 private:
  ScratchDirectory directory_;
};

TEST_F(InitialFileTest, GivesTheRowsOfTheTokens) {
  write({2, 3, 5, 7, 11, 13});
  const InitialFile initial(file(), rank, vocab);
  const std::vector<std::int32_t> tokens{3, 7, 11, 13};
  const auto rows = initial.rows_of(tokens);
  const auto expected = [](const std::vector<double>& ids) {
    return (at::tensor(ids).unsqueeze(1) * 100 + at::arange(rank)).to(at::kFloat);
  };
  EXPECT_TRUE(at::equal(rows(0, 4), expected({3, 7, 11, 13})));
  EXPECT_TRUE(at::equal(rows(1, 2), expected({7, 11})));
  EXPECT_EQ(rows(4, 0).size(0), 0);
}

TEST_F(InitialFileTest, IsWhatAFactorisationStartsFrom) {
  write({2, 3, 5, 7, 11, 13});
  const InitialFile initial(file(), rank, vocab);
  const std::vector<std::int32_t> tokens{5, 7};
  const std::vector<float> numbers{1, 2, 3, 4};
  const Shard shard{Rows(numbers, tokens, 2, 1), 0, 2};
  Options options;
  options.rank = rank;
  options.init = "file";
  const auto self = cluster::make_self_communicator();
  const auto rows = initial_rows(shard, tokens, options, "purpose", &initial, *self);
  EXPECT_EQ(rows(0, 2)[1][2].item<float>(), 702);
}

TEST_F(InitialFileTest, SaysWhatItLacks) {
  write({2, 3, 5});
  const InitialFile initial(file(), rank, vocab);
  EXPECT_NO_THROW(initial.require(std::vector<std::int32_t>{2, 5}));
  try {
    initial.require(std::vector<std::int32_t>{2, 4, 5, 6});
    FAIL();
  } catch (const DataError& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("2 of the 4 tokens"), std::string::npos) << what;
    EXPECT_NE(what.find("the first of them 4"), std::string::npos) << what;
    EXPECT_NE(what.find(file().string()), std::string::npos) << what;
  }
}

TEST_F(InitialFileTest, RefusesWhatDoesNotFit) {
  EXPECT_NE(refusal(), "");  // no file
  write({2, 3});
  EXPECT_EQ(refusal(), "");
  EXPECT_NE(refusal(4).find("coefficients are not 2 x 4"), std::string::npos) << refusal(4);
  write({3, 2});
  EXPECT_NE(refusal().find("do not ascend"), std::string::npos);
  write({3, 3});
  EXPECT_NE(refusal().find("do not ascend"), std::string::npos);
  write({-1, 3});
  EXPECT_NE(refusal().find("outside"), std::string::npos);
  write({3, vocab});
  EXPECT_NE(refusal().find("outside"), std::string::npos);
}

TEST_F(InitialFileTest, RefusesNumbersThatAreNotFinite) {
  write({2, 3}, std::numeric_limits<float>::quiet_NaN());
  const InitialFile initial(file(), rank, vocab);
  const std::vector<std::int32_t> good{2}, bad{3};
  EXPECT_NO_THROW(initial.rows_of(good)(0, 1));
  EXPECT_THROW(initial.rows_of(bad)(0, 1), DataError);
}

}  // namespace
}  // namespace quench::dictionary
