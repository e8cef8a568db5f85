#include "cluster/store.hpp"

#include <gtest/gtest.h>
#include <hdf5.h>

#include <fstream>

#include "cluster/error.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/support/store_checks.hpp"

namespace quench::testing {
namespace {

using namespace cluster;
namespace fs = std::filesystem;

using LocalStore = LocalCheck;
TEST_P(LocalStore, Holds) { run(); }
INSTANTIATE_TEST_SUITE_P(Store, LocalStore, local_cases(store_checks()), LocalCheck::name);

class Reader : public ::testing::Test {
 protected:
  Reader() {
    const auto comm = make_self_communicator();
    StoreWriter writer(*comm, path_, header_);
    writer.write_rows<float>("x", values_, {2});
    writer.write_ragged<std::int32_t>("ragged", {{1, 2}, {}, {3}});
    writer.finish();
  }

  // What reading says when the file was changed, or is asked for something else.
  std::string refusal(const std::function<void()>& read) {
    try {
      read();
    } catch (const DataError& error) {
      EXPECT_EQ(std::string(error.what()).find(path_.string()), 0U) << error.what();
      return error.what();
    }
    return "nothing thrown";
  }
  std::string refusal(const std::function<void(const StoreReader&)>& read) {
    const StoreReader reader(path_, "tested", 1);
    return refusal([&] { read(reader); });
  }
  std::string refusal_to_open(const std::string& stage = "tested", std::int64_t schema = 1) {
    return refusal([&] { StoreReader(path_, stage, schema); });
  }
  void overwrite(const char* name, const std::vector<std::int64_t>& values) {
    const hid_t file = H5Fopen(path_.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    const hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
    EXPECT_GE(H5Dwrite(dataset, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
    H5Dclose(dataset);
    H5Fclose(file);
  }

  const ScratchDirectory scratch_;
  const fs::path path_ = scratch_ / "a.h5";
  const StoreHeader header_{"tested", 1, "run", "cafe"};
  const std::vector<float> values_{1, 2, 3, 4, 5, 6};
};

#define EXPECT_SAYS(message, part)                         \
  do {                                                     \
    const std::string said = message;                      \
    EXPECT_NE(said.find(part), std::string::npos) << said; \
  } while (false)

TEST_F(Reader, MissingFile) {
  fs::remove(path_);
  EXPECT_SAYS(refusal_to_open(), "No such file");
}

TEST_F(Reader, NotHdf5) {
  for (const std::string content : {"", "plain text that is long enough to hold a signature"}) {
    std::ofstream(path_, std::ios::trunc) << content;
    EXPECT_SAYS(refusal_to_open(), "not an HDF5 file");
  }
}

TEST_F(Reader, Folder) {
  fs::remove(path_);
  fs::create_directory(path_);
  EXPECT_SAYS(refusal_to_open(), "a.h5");
}

TEST_F(Reader, TruncatedAnywhere) {
  const auto size = fs::file_size(path_);
  for (auto bytes = size; bytes > 0;) {
    bytes -= std::min<std::uintmax_t>(bytes, 61);
    fs::resize_file(path_, bytes);
    EXPECT_NE(refusal_to_open(), "nothing thrown") << bytes;
  }
}

TEST_F(Reader, NotComplete) {
  const hid_t file = H5Fopen(path_.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  const hid_t attribute = H5Aopen(file, "complete", H5P_DEFAULT);
  const std::int64_t no = 0;
  EXPECT_GE(H5Awrite(attribute, H5T_NATIVE_INT64, &no), 0);
  H5Aclose(attribute);
  H5Fclose(file);
  EXPECT_SAYS(refusal_to_open(), "not complete");
  EXPECT_FALSE(store_is_current(path_, header_));
}

TEST_F(Reader, AnothersFile) {
  EXPECT_SAYS(refusal_to_open("other"), "of stage \"tested\", not \"other\"");
  EXPECT_SAYS(refusal_to_open("tested", 2), "schema version 1");
  const hid_t file = H5Fopen(path_.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  EXPECT_GE(H5Adelete(file, "stage"), 0);
  H5Fclose(file);
  EXPECT_SAYS(refusal_to_open(), "attribute \"stage\" is missing");
}

TEST_F(Reader, Current) {
  EXPECT_TRUE(store_is_current(path_, {"tested", 1, "another run", "cafe"}));
  EXPECT_FALSE(store_is_current(path_, {"tested", 1, "run", "beef"}));
  EXPECT_FALSE(store_is_current(path_, {"tested", 2, "run", "cafe"}));
  EXPECT_FALSE(store_is_current(path_, {"other", 1, "run", "cafe"}));
  EXPECT_FALSE(store_is_current(scratch_ / "missing", header_));
}

TEST_F(Reader, WhatIsNotThere) {
  using R = const StoreReader&;
  EXPECT_SAYS(refusal([](R r) { (void)r.read<float>("y"); }), "dataset y");
  EXPECT_SAYS(refusal([](R r) { (void)r.read<double>("x"); }), "holds float32, not float64");
  EXPECT_SAYS(refusal([](R r) { (void)r.read<std::int32_t>("x"); }), "holds float32, not int32");
  EXPECT_SAYS(refusal([](R r) {
                (void)r.read_rows<float>("x", {1, 4});
              }),
              "rows [1, 4) asked of 3");
  EXPECT_SAYS(refusal([](R r) { (void)r.read_rows<float>("x", {-1, 1}); }), "rows [-1, 1)");
  EXPECT_SAYS(refusal([](R r) { (void)r.read_rows<float>("x", {2, 1}); }), "rows [2, 1)");
  EXPECT_SAYS(refusal([](R r) {
                (void)r.read_ragged<std::int32_t>("ragged", {0, 4});
              }),
              "asked of 3");
  EXPECT_SAYS(refusal([](R r) { (void)r.read_ragged<float>("ragged"); }), "holds int32");
  EXPECT_SAYS(refusal([](R r) { (void)r.read_strings("x"); }), "x/values");
  EXPECT_SAYS(refusal([](R r) { (void)r.text_attribute("/", "none"); }), "attribute \"none\"");
  EXPECT_SAYS(refusal([](R r) { (void)r.text_attribute("/", "complete"); }), "not text");
  EXPECT_SAYS(refusal([](R r) { (void)r.number_attribute("/", "stage"); }), "not one number");
}

TEST_F(Reader, DamagedOffsets) {
  using R = const StoreReader&;
  for (const std::vector<std::int64_t>& offsets :
       {std::vector<std::int64_t>{0, 2, 1, 3}, {0, 2, 2, 4}, {-1, 2, 2, 3}, {0, 5, 5, 3}}) {
    overwrite("ragged/offsets", offsets);
    EXPECT_SAYS(refusal([](R r) { (void)r.read_ragged<std::int32_t>("ragged"); }), "offsets");
  }
}

TEST_F(Reader, Moves) {
  StoreReader one(path_, "tested", 1);
  StoreReader two(std::move(one));
  one = std::move(two);
  EXPECT_EQ(one.read<float>("x"), values_);
}

// Many readers of one file at once, as the threads of a test have it.
TEST_F(Reader, ReadsOnThreads) {
  run_on_threads(4, [&](Communicator&) {
    for (int i = 0; i < 20; ++i) {
      const StoreReader reader(path_, "tested", 1);
      EXPECT_EQ(reader.read<float>("x"), values_);
    }
  });
}

}  // namespace
}  // namespace quench::testing
