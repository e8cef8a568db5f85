#include "cluster/fault.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <map>
#include <mutex>
#include <sstream>
#include <string_view>
#include <vector>

#include "cluster/error.hpp"

namespace quench::cluster {

namespace {

constexpr std::array<std::pair<std::string_view, int>, 8> kSignals{{{"KILL", SIGKILL},
                                                                    {"STOP", SIGSTOP},
                                                                    {"TERM", SIGTERM},
                                                                    {"USR1", SIGUSR1},
                                                                    {"USR2", SIGUSR2},
                                                                    {"INT", SIGINT},
                                                                    {"SEGV", SIGSEGV},
                                                                    {"ABRT", SIGABRT}}};

[[noreturn]] void refuse(const std::string& text) {
  throw ConfigError("QUENCH_FAULT = \"" + text +
                    "\": expected STAGE:N:SIGNAL or STAGE:N:SIGNAL:RANK, e.g. dictionary:3:KILL");
}

int number_in(const std::string& field, const std::string& text) {
  int value = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  if (error != std::errc() || end != field.data() + field.size() || value < 0) refuse(text);
  return value;
}

}  // namespace

Fault::Fault(const std::string& stage, int rank) {
  const char* variable = std::getenv("QUENCH_FAULT");
  if (variable == nullptr || *variable == '\0') return;
  const std::string text(variable);
  std::vector<std::string> fields;
  std::istringstream parts(text);
  for (std::string field; std::getline(parts, field, ':');) fields.push_back(field);
  if (fields.size() != 3 && fields.size() != 4) refuse(text);
  const auto* const known = std::find_if(kSignals.begin(), kSignals.end(),
                                         [&](const auto& s) { return s.first == fields[2]; });
  if (known == kSignals.end()) refuse(text);
  const int record = number_in(fields[1], text);
  const bool this_rank = fields.size() == 3 || number_in(fields[3], text) == rank;
  if (fields[0] != stage || !this_rank) return;
  stage_ = stage;
  signal_ = known->second;
  record_ = record;
}

void Fault::after_record() const {
  static std::mutex mutex;
  static std::map<std::string, int> records;  // of each stage
  if (signal_ == 0) return;
  const std::lock_guard lock(mutex);
  if (++records[stage_] == record_) std::raise(signal_);
}

}  // namespace quench::cluster
