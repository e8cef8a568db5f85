#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "cluster/error.hpp"

namespace quench {

// Which concept a user means by a name: the concept that has it, before any that has it as an
// alias.
class ConceptNames {
 public:
  // `whose` stands in messages: "the run", "the catalog".
  explicit ConceptNames(std::string whose) : whose_(std::move(whose)) {}

  // The next concept; the first one has index 0.
  void add(const std::string& name, std::span<const std::string> aliases);
  std::int64_t size() const { return std::ssize(names_); }

  // The index of a concept. Throws ConfigError: nobody has the name (with the nearest one), or
  // several concepts have it as an alias.
  std::int64_t find(const std::string& name) const;
  // The indices of a list of names, all concepts for an empty one. What find() would throw goes to
  // `problems`, under `key`.
  std::set<std::int64_t> find_all(std::span<const std::string> names, const std::string& key,
                                  Problems& problems) const;

 private:
  std::string whose_;
  std::vector<std::string> names_;
  std::unordered_map<std::string, std::int64_t> by_name_;
  std::unordered_map<std::string, std::set<std::int64_t>> by_alias_;
};

}  // namespace quench
