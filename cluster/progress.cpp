#include "cluster/progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

namespace quench::cluster {

namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kTerminalPause = std::chrono::milliseconds(200);
constexpr auto kLinePause = std::chrono::seconds(5);

std::string two_digits(std::int64_t value) {
  return (value < 10 ? "0" : "") + std::to_string(value);
}

// "3.2 a second", or a minute or an hour, whichever gives a number of at least 1.
std::string format_rate(double per_second) {
  double rate = per_second;
  const char* unit = " a second";
  if (rate < 1) {
    rate = per_second * 60;
    unit = " a minute";
  }
  if (rate < 1) {
    rate = per_second * 3600;
    unit = " an hour";
  }
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", rate < 100 ? 1 : 0, rate);
  return text + std::string(unit);
}

}  // namespace

std::string format_duration(double seconds) {
  const auto total = static_cast<std::int64_t>(std::llround(std::max(0.0, seconds)));
  if (total < 60) return std::to_string(total) + " s";
  if (total < 3600) return std::to_string(total / 60) + " min " + two_digits(total % 60) + " s";
  return std::to_string(total / 3600) + " h " + two_digits(total / 60 % 60) + " min";
}

Progress::Progress(bool speaks, std::string label, std::int64_t total)
    : speaks_(speaks),
      terminal_(::isatty(STDERR_FILENO) == 1),
      label_(std::move(label)),
      total_(total),
      start_(Clock::now()) {}

Progress::~Progress() {
  if (shown_ < last_) print(last_);
  if (terminal_ && shown_ >= 0) std::fputc('\n', stderr);
}

void Progress::update(std::int64_t done) {
  if (!speaks_) return;
  const std::lock_guard lock(mutex_);
  if (done <= last_) return;
  const bool first = first_ < 0;
  if (first) {
    first_ = done;
    start_ = Clock::now();
  }
  last_ = done;
  const auto pause = terminal_ ? Clock::duration(kTerminalPause) : Clock::duration(kLinePause);
  if (!first && done < total_ && Clock::now() - printed_ < pause) return;
  print(done);
}

void Progress::print(std::int64_t done) {
  printed_ = Clock::now();
  shown_ = done;
  const double elapsed = std::chrono::duration<double>(printed_ - start_).count();
  std::string line = label_ + ": " + std::to_string(done) + "/" + std::to_string(total_);
  if (done > first_ && elapsed > 0) {
    const double rate = static_cast<double>(done - first_) / elapsed;
    line += ", " + format_rate(rate);
    if (done < total_)
      line += ", " + format_duration(static_cast<double>(total_ - done) / rate) + " left";
    else
      line += ", in " + format_duration(elapsed);
  }
  if (terminal_)
    line = "\r" + line + "\x1b[K";
  else
    line += '\n';
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace quench::cluster
