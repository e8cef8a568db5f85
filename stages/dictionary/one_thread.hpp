#pragma once

#include <ATen/Parallel.h>

#include <cstdint>
#include <optional>

namespace quench::dictionary {

// While it lives, ATen works on the calling thread alone: waking others takes longer than a small
// system does.
class OneThread {
 public:
  OneThread() { at::set_num_threads(1); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;
  ~OneThread() { at::set_num_threads(before_); }

  // Makes `alone` where products of so many multiplications are small.
  static void where_small(std::optional<OneThread>& alone, std::int64_t multiplications) {
    constexpr std::int64_t small = std::int64_t{1} << 24;  // as of 256 x 256 x 256
    if (multiplications <= small) alone.emplace();
  }

 private:
  int before_ = at::get_num_threads();
};

}  // namespace quench::dictionary
