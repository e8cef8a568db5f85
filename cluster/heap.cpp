#include "cluster/heap.hpp"

#include <cstdlib>
#include <initializer_list>

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace quench::cluster {

#ifdef __GLIBC__

void keep_freed_memory() {
  for (const char* setting : {"GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_",
                              "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_"})
    if (std::getenv(setting) != nullptr) return;
  constexpr int never = -1;
  mallopt(M_MMAP_THRESHOLD, 1 << 30);  // larger ones are mapped, and go back at once
  mallopt(M_TRIM_THRESHOLD, never);
}

void return_freed_memory() { malloc_trim(0); }

#else

void keep_freed_memory() {}
void return_freed_memory() {}

#endif

}  // namespace quench::cluster
