#pragma once

#include <ATen/record_function.h>

#include <atomic>
#include <memory>
#include <set>
#include <string>

namespace quench::testing {

// Counts, while it lives, what this thread asks of tensors that a device would have to be waited
// for: numbers, and lists whose length depends on them.
class CountedReads {
 public:
  CountedReads()
      : handle_(at::addThreadLocalCallback(
            at::RecordFunctionCallback(count_one).scopes({at::RecordScope::FUNCTION}))) {
    reads() = 0;
  }
  ~CountedReads() { at::removeCallback(handle_); }
  CountedReads(const CountedReads&) = delete;
  CountedReads& operator=(const CountedReads&) = delete;

  int count() const { return reads(); }

 private:
  static std::atomic<int>& reads() {
    static std::atomic<int> count;
    return count;
  }
  static std::unique_ptr<at::ObserverContext> count_one(const at::RecordFunction& called) {
    static const std::set<std::string> reading{"aten::_local_scalar_dense", "aten::nonzero",
                                               "aten::masked_select", "aten::equal",
                                               "aten::is_nonzero"};
    if (reading.contains(called.name())) ++reads();
    return {};
  }

  at::RecordFunctionGuard enabled_;
  at::CallbackHandle handle_;
};

}  // namespace quench::testing
