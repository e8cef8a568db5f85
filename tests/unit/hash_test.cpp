#include "cluster/hash.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "cluster/error.hpp"
#include "tests/support/scratch_directory.hpp"

namespace quench::cluster {
namespace {

const std::string abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const std::string nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

// FIPS 180-2, appendix B.
TEST(Sha256, KnownAnswers) {
  EXPECT_EQ(sha256("abc"), abc);
  EXPECT_EQ(sha256(""), nothing);
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Sha256, IsTheSameInPieces) {
  Sha256 hash;
  EXPECT_EQ(hash.update("a").update("").update("bc").hex(), abc);
  EXPECT_EQ(hash.hex(), nothing);
}

TEST(Sha256, FieldsKeepTheirBoundaries) {
  EXPECT_NE(Sha256().field("ab").field("c").hex(), Sha256().field("a").field("bc").hex());
  EXPECT_NE(Sha256().field("").field("a").hex(), Sha256().field("a").field("").hex());
  EXPECT_EQ(Sha256().field("abc").hex(), sha256(std::string("\3\0\0\0\0\0\0\0abc", 11)));
}

TEST(Sha256File, ReadsAllBlocks) {
  const testing::ScratchDirectory scratch;
  const std::string content(3'000'001, 'q');
  std::ofstream(scratch / "large") << content;
  EXPECT_EQ(sha256_file(scratch / "large"), sha256(content));
}

TEST(Sha256File, NamesWhatCannotBeRead) {
  const testing::ScratchDirectory scratch;
  for (const auto& path : {scratch / "missing", scratch.path()}) {
    try {
      sha256_file(path);
      ADD_FAILURE() << "nothing thrown";
    } catch (const DataError& error) {
      EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos) << error.what();
    }
  }
}

TEST(SafeFileName, KeepsWhatIsSafe) {
  const std::string hash = "0123456789abcdef";
  const std::string end = "-0123456789";
  EXPECT_EQ(safe_file_name("Valentine's Day", hash), "Valentine_s_Day" + end);
  EXPECT_EQ(safe_file_name("COVID-19 pandemic", hash), "COVID-19_pandemic" + end);
  EXPECT_EQ(safe_file_name("  Harry   Potter ", hash), "Harry_Potter" + end);
  EXPECT_EQ(safe_file_name("__a__b__", hash), "a_b" + end);
  EXPECT_EQ(safe_file_name("../../etc/passwd", hash), "etc_passwd" + end);
  EXPECT_EQ(safe_file_name("a.b", hash), "a_b" + end);
  EXPECT_EQ(safe_file_name("Malmö in März", hash), "Malm_in_M_rz" + end);
}

TEST(SafeFileName, NothingLeft) {
  for (const char* name : {"", "...", "/", "日本語", " \t\n"})
    EXPECT_EQ(safe_file_name(name, "0123456789abcdef"), "0123456789");
}

TEST(SafeFileName, IsShort) {
  EXPECT_EQ(safe_file_name(std::string(100, 'x'), "0123456789abcdef"),
            std::string(40, 'x') + "-0123456789");
  EXPECT_EQ(safe_file_name(std::string(39, 'x') + " y", "0123456789abcdef"),
            std::string(39, 'x') + "-0123456789");
  EXPECT_EQ(safe_file_name("a", "12"), "a-12");
}

}  // namespace
}  // namespace quench::cluster
