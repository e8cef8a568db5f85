#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/error.hpp"

namespace quench {

// The one place where an option is bound: name, variable (whose initial value is the default),
// help, and what is allowed. Types: bool, std::int64_t, double, std::string, std::vector<double>,
// std::vector<std::string>. Lists are comma-separated; in an element "\," is a comma and "\\" a
// backslash, and blanks around an element do not count.
class OptionTable {
 public:
  struct Limits {
    double low, high;  // inclusive; high may be infinite
  };
  template <typename T>
  void add(const std::string& key, T& variable, const std::string& help);
  template <typename T>  // numbers, also each of a list
  void add(const std::string& key, T& variable, const std::string& help, Limits limits);
  void add_choice(const std::string& key, std::string& variable, const std::string& help,
                  std::vector<std::string> allowed);

  // Sets one option from text. Throws ConfigError: unknown key (with the nearest known one), wrong
  // type.
  void set(const std::string& key, const std::string& text);
  // Adds to `problems` every value that is out of range, with key, value and what is allowed.
  void validate(Problems& problems) const;

  // key -> canonical text, sorted by key; what a run saves, compares and hashes. set() of such a
  // text gives the same value again.
  std::map<std::string, std::string> values() const;
  // SHA-256 over the options whose key starts with one of `prefixes`, without those of `except`.
  std::string fingerprint(const std::vector<std::string>& prefixes,
                          const std::vector<std::string>& except = {}) const;
  // Help text by section, defaults and what is allowed included.
  std::string help() const;
  std::vector<std::string> keys() const;

 private:
  struct Entry {
    std::string help, fallback, allowed;
    std::function<void(const std::string&)> parse;
    std::function<std::string()> print;
    std::function<bool()> good = [] { return true; };
  };
  Entry& insert(const std::string& key);
  std::map<std::string, Entry> entries_;
};

// The text of `known` that is nearest to `word` by edit distance (bytes), the first of equals;
// empty when nothing is known.
std::string nearest_of(std::string_view word, std::span<const std::string> known);

}  // namespace quench
