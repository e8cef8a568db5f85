#include "cluster/heap.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <initializer_list>
#include <memory>

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

namespace {

using namespace quench;

constexpr long bytes = 64 << 20;

// Pages that were mapped anew while a block of that size came, was written and went.
long pages_for_a_block() {
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  {
    const auto block = std::make_unique_for_overwrite<char[]>(bytes);
    volatile char* written = block.get();
    for (long i = 0; i < bytes; i += 4096) written[i] = 1;
  }
  getrusage(RUSAGE_SELF, &after);
  return after.ru_minflt - before.ru_minflt;
}

long resident_pages() {
  long size = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return resident;
}

TEST(Heap, FreedMemoryServesTheNextBlockUntilItIsGivenBack) {
  for (const char* setting : {"GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"})
    if (std::getenv(setting) != nullptr) GTEST_SKIP() << setting << " is the user's choice";
  cluster::keep_freed_memory();
  const long pages = bytes / sysconf(_SC_PAGESIZE);
  pages_for_a_block();
  EXPECT_LT(pages_for_a_block(), pages / 20);
  const long before = resident_pages();
  cluster::return_freed_memory();
  EXPECT_LT(resident_pages(), before - pages / 2);
}

}  // namespace

#endif
