#pragma once

#include <exception>

namespace quench::cluster {

// Tells a destructor whether its object dies because of an exception. Such a rank is alone: the
// others are elsewhere, so it must not wait for them in a collective call.
class Unwinding {
 public:
  explicit operator bool() const noexcept { return std::uncaught_exceptions() > at_birth_; }

 private:
  int at_birth_ = std::uncaught_exceptions();
};

}  // namespace quench::cluster
