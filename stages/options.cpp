#include "stages/options.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <type_traits>

#include "cluster/hash.hpp"

namespace quench {
namespace {

template <typename T>
struct IsList : std::false_type {};
template <typename T>
struct IsList<std::vector<T>> : std::true_type {};

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

[[noreturn]] void refuse(const std::string& key, const std::string& text, const char* wanted) {
  throw ConfigError(key + ": '" + text + "' is not " + wanted);
}

template <typename T>
T parse_number(const std::string& key, const std::string& text, const char* wanted) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) refuse(key, text, wanted);
  return value;
}

// Elements with their escapes resolved; empty text is an empty list.
std::vector<std::string> split_list(const std::string& key, const std::string& text) {
  std::vector<std::string> elements;
  if (trimmed(text).empty()) return elements;
  elements.emplace_back();
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape =
        text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == ',' || text[i + 1] == '\\');
    if (escape)
      elements.back() += text[++i];
    else if (text[i] == ',')
      elements.emplace_back();
    else
      elements.back() += text[i];
  }
  for (auto& element : elements) {
    element = trimmed(element);
    if (element.empty()) refuse(key, text, "a list: an element is empty");
  }
  return elements;
}

template <typename T>
T parse_value(const std::string& key, const std::string& text) {
  if constexpr (std::is_same_v<T, std::string>) {
    return text;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (text != "true" && text != "false") refuse(key, text, "true or false");
    return text == "true";
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    return parse_number<std::int64_t>(key, text, "a whole number");
  } else if constexpr (std::is_same_v<T, double>) {
    const auto value = parse_number<double>(key, text, "a number");
    if (std::isnan(value)) refuse(key, text, "a number");
    return value;
  } else {
    T list;
    for (const auto& element : split_list(key, text))
      list.push_back(parse_value<typename T::value_type>(key, element));
    return list;
  }
}

std::string escaped(const std::string& element) {
  std::string text;
  for (const char c : element) {
    if (c == ',' || c == '\\') text += '\\';
    text += c;
  }
  return text;
}

template <typename T>
std::string print_value(const T& value) {
  if constexpr (std::is_same_v<T, std::string>) {
    return value;
  } else if constexpr (std::is_same_v<T, bool>) {
    return value ? "true" : "false";
  } else if constexpr (IsList<T>::value) {
    std::string text;
    for (const auto& element : value)
      text += (text.empty() ? "" : ",") + escaped(print_value(element));
    return text;
  } else {
    char digits[64];
    return {digits, std::to_chars(digits, digits + sizeof digits, value).ptr};
  }
}

template <typename T>
bool within(const T& value, OptionTable::Limits limits) {
  if constexpr (IsList<T>::value) {
    return std::ranges::all_of(value, [&](const auto& element) { return within(element, limits); });
  } else {
    const auto number = static_cast<double>(value);
    return number >= limits.low && number <= limits.high;
  }
}

std::string describe_limits(OptionTable::Limits limits) {
  if (std::isinf(limits.high)) return "at least " + print_value(limits.low);
  return print_value(limits.low) + " to " + print_value(limits.high);
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

std::string section_of(const std::string& key) { return key.substr(0, key.find('.')); }

}  // namespace

OptionTable::Entry& OptionTable::insert(const std::string& key) {
  const auto [place, is_new] = entries_.try_emplace(key);
  if (!is_new) throw InternalError("option " + key + " is bound twice");
  return place->second;
}

template <typename T>
void OptionTable::add(const std::string& key, T& variable, const std::string& help) {
  Entry& entry = insert(key);
  entry.help = help;
  entry.fallback = print_value(variable);
  entry.parse = [key, &variable](const std::string& text) { variable = parse_value<T>(key, text); };
  entry.print = [&variable] { return print_value(variable); };
}

template <typename T>
void OptionTable::add(const std::string& key, T& variable, const std::string& help, Limits limits) {
  add(key, variable, help);
  Entry& entry = entries_.at(key);
  entry.allowed = describe_limits(limits);
  entry.good = [&variable, limits] { return within(variable, limits); };
}

void OptionTable::add_choice(const std::string& key, std::string& variable, const std::string& help,
                             std::vector<std::string> allowed) {
  add(key, variable, help);
  Entry& entry = entries_.at(key);
  for (const auto& value : allowed) entry.allowed += (entry.allowed.empty() ? "" : " | ") + value;
  entry.good = [&variable, allowed = std::move(allowed)] {
    return std::ranges::find(allowed, variable) != allowed.end();
  };
}

void OptionTable::set(const std::string& key, const std::string& text) {
  const auto entry = entries_.find(key);
  if (entry != entries_.end()) return entry->second.parse(text);
  // A key without its section is compared with the last parts of the known ones.
  const auto known = keys();
  auto compared = known;
  if (key.find('.') == std::string::npos)
    for (auto& other : compared) other = other.substr(other.rfind('.') + 1);
  const auto best = std::ranges::find(compared, nearest_of(key, compared)) - compared.begin();
  throw ConfigError("unknown option '" + key + "'" +
                    (known.empty() ? "" : "; the nearest known one is '" + known[best] + "'"));
}

void OptionTable::validate(Problems& problems) const {
  for (const auto& [key, entry] : entries_)
    if (!entry.good())
      problems.add(key, "'" + entry.print() + "' is not allowed; allowed: " + entry.allowed);
}

std::map<std::string, std::string> OptionTable::values() const {
  std::map<std::string, std::string> values;
  for (const auto& [key, entry] : entries_) values[key] = entry.print();
  return values;
}

std::string OptionTable::fingerprint(const std::vector<std::string>& prefixes,
                                     const std::vector<std::string>& except) const {
  cluster::Sha256 hash;
  for (const auto& entry : values()) {
    const auto& key = entry.first;
    if (std::ranges::any_of(prefixes,
                            [&](const auto& prefix) { return key.starts_with(prefix); }) &&
        std::ranges::find(except, key) == except.end())
      hash.field(key).field(entry.second);
  }
  return hash.hex();
}

std::string OptionTable::help() const {
  std::string text, section;
  for (const auto& [key, entry] : entries_) {
    if (section_of(key) != section) {
      section = section_of(key);
      text += (text.empty() ? "" : "\n") + section + "\n";
    }
    text += "  " + key + " = " + entry.fallback + "\n      " + entry.help;
    text += (entry.allowed.empty() ? "" : " [" + entry.allowed + "]") + "\n";
  }
  return text;
}

std::vector<std::string> OptionTable::keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, entry] : entries_) keys.push_back(key);
  return keys;
}

template void OptionTable::add(const std::string&, bool&, const std::string&);
template void OptionTable::add(const std::string&, std::int64_t&, const std::string&);
template void OptionTable::add(const std::string&, double&, const std::string&);
template void OptionTable::add(const std::string&, std::string&, const std::string&);
template void OptionTable::add(const std::string&, std::vector<double>&, const std::string&);
template void OptionTable::add(const std::string&, std::vector<std::string>&, const std::string&);
template void OptionTable::add(const std::string&, std::int64_t&, const std::string&, Limits);
template void OptionTable::add(const std::string&, double&, const std::string&, Limits);
template void OptionTable::add(const std::string&, std::vector<double>&, const std::string&,
                               Limits);

std::string nearest_of(std::string_view word, std::span<const std::string> known) {
  std::string best;
  auto least = std::numeric_limits<std::size_t>::max();
  for (const auto& candidate : known) {
    const auto distance = edit_distance(word, candidate);
    if (distance >= least) continue;
    least = distance;
    best = candidate;
  }
  return best;
}

}  // namespace quench
