#pragma once

#include <ATen/Parallel.h>

#include <cstdint>

namespace quench::dictionary {

// While it lives, ATen works on the calling thread alone where products of so many multiplications
// are small: waking others takes longer.
class OneThread {
 public:
  explicit OneThread(std::int64_t multiplications) : is_small_(multiplications <= small) {
    if (is_small_) at::set_num_threads(1);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;
  ~OneThread() {
    if (is_small_) at::set_num_threads(before_);
  }

 private:
  static constexpr std::int64_t small = std::int64_t{1} << 24;  // as of 256 x 256 x 256

  int before_ = at::get_num_threads();
  bool is_small_;
};

}  // namespace quench::dictionary
