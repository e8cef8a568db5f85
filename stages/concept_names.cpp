#include "stages/concept_names.hpp"

#include <iterator>

#include "stages/options.hpp"

namespace quench {

void ConceptNames::add(const std::string& name, std::span<const std::string> aliases) {
  by_name_.emplace(name, size());
  for (const auto& alias : aliases) by_alias_[alias].insert(size());
  names_.push_back(name);
}

std::int64_t ConceptNames::find(const std::string& name) const {
  if (const auto found = by_name_.find(name); found != by_name_.end()) return found->second;
  const auto found = by_alias_.find(name);
  if (found == by_alias_.end()) {
    auto known = names_;
    for (const auto& [alias, concepts] : by_alias_) known.push_back(alias);
    throw ConfigError("'" + name + "' is not among " + whose_ + "'s " + std::to_string(size()) +
                      " concepts; the nearest name is '" + nearest_of(name, known) + "'");
  }
  if (found->second.size() == 1) return *found->second.begin();
  std::string list;
  for (const auto c : found->second) list += (list.empty() ? "'" : ", '") + names_[c] + "'";
  throw ConfigError("'" + name +
                    "' is an alias of several concepts; give the name of one: " + list);
}

std::set<std::int64_t> ConceptNames::find_all(std::span<const std::string> names,
                                              const std::string& key, Problems& problems) const {
  std::set<std::int64_t> found;
  for (const auto& name : names) {
    try {
      found.insert(find(name));
    } catch (const ConfigError& error) {
      problems.add(key, error.what());
    }
  }
  if (names.empty())
    for (std::int64_t c = 0; c < size(); ++c) found.insert(found.end(), c);
  return found;
}

}  // namespace quench
