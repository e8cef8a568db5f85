#include <cctype>
#include <stdexcept>
#include <vector>

#include "model/tokenizer/pattern.hpp"
#include "model/tokenizer/unicode.hpp"

namespace quench::model::tokenization {

namespace {

// PCRE2's \s holds U+180E too, its \w lacks marks: both are spelled out as Oniguruma has them.
constexpr std::string_view kSpace =
    R"(\t-\r\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
constexpr std::string_view kNotSpace =
    R"(\x{0}-\x{8}\x{E}-\x{1F}\x{21}-\x{84}\x{86}-\x{9F}\x{A1}-\x{167F}\x{1681}-\x{1FFF})"
    R"(\x{200B}-\x{2027}\x{202A}-\x{202E}\x{2030}-\x{205E}\x{2060}-\x{2FFF}\x{3001}-\x{10FFFF})";
constexpr std::string_view kWordExtras =
    R"(\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169})"
    R"(\x{1F170}-\x{1F189})";

std::string category(std::string_view name) {
  return "\\p{" + std::string(name) + "}" + later_additions(name);
}

std::string word() {
  std::string set(kWordExtras);
  for (const auto* name : {"L", "M", "Nd", "Nl", "Pc"}) set += category(name);
  return set;
}

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  std::string translate() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_++];
      if (c == '\\') {
        if (!in_set_) atom_ = out_.size();
        escape();
      } else if (in_set_) {
        inside_set(c);
      } else {
        outside_set(c);
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] static void unsupported(const std::string& what) {
    throw std::invalid_argument("the regular expression uses " + what + ", which is not supported");
  }

  char next() {
    if (at_ == pattern_.size()) throw std::invalid_argument("the regular expression ends early");
    return pattern_[at_++];
  }

  bool looking_at(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }

  // Is this a group (?...) that sets the option m, which means another thing to PCRE2?
  bool sets_dot_all() const {
    if (!looking_at("?")) return false;
    const std::size_t end = pattern_.find_first_not_of("imx-", at_ + 1);
    return pattern_.substr(at_, end - at_).find('m') != pattern_.npos;
  }

  void outside_set(char c) {
    if (c == '(' && looking_at("?~")) unsupported("an absent operator (?~");
    if (c == '(' && sets_dot_all()) unsupported("the option m");
    if (c == '{' && looking_at(",")) unsupported("an interval {,n}");
    if (c == '{' && group_interval()) return;
    if (c == '(') groups_.push_back(out_.size());
    note_atom(c);
    out_ += c;
    if (c != '[') return;
    in_set_ = true;
    if (looking_at("^")) out_ += next();
    if (looking_at("]")) unsupported("a set that starts with ]");
  }

  // Where the text begins that a quantifier which follows now would repeat.
  void note_atom(char c) {
    const bool goes_on = (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;  // within a character
    if (c == ')' && !groups_.empty()) {
      atom_ = groups_.back();
      groups_.pop_back();
    } else if (!goes_on && std::string_view("*+?{}").find(c) == std::string_view::npos) {
      atom_ = out_.size();
    }
  }

  // X{n,m}+ and X{n}? repeat (X{n,m}) and make (X{n}) optional; PCRE2 would take them for
  // possessive and lazy. Stands after the {; false: it is no such interval.
  bool group_interval() {
    const std::size_t close = pattern_.find('}', at_);
    if (close == pattern_.npos || close + 1 == pattern_.size()) return false;
    const auto inside = pattern_.substr(at_, close - at_);
    const char next = pattern_[close + 1];
    const bool is_interval =
        !inside.empty() && inside.find_first_not_of("0123456789,") == inside.npos;
    const bool is_fixed = inside.find(',') == inside.npos;
    if (!is_interval || !(next == '+' || (next == '?' && is_fixed))) return false;
    out_.insert(atom_, "(?:");
    out_.append("{").append(inside).append("})");
    at_ = close + 1;
    return true;
  }

  void inside_set(char c) {
    if (c == '[') unsupported("a set within a set");
    if (c == '&' && looking_at("&")) unsupported("an intersection of sets");
    if (c == ']') in_set_ = false;
    out_ += c;
  }

  // Adds the characters in `set`, or all others, inside or outside of [...].
  void add(std::string_view set, bool negated) {
    if (in_set_ && negated) unsupported("a negated property within a set");
    out_ += in_set_ ? std::string(set) : (negated ? "[^" : "[") + std::string(set) + "]";
  }

  void escape() {
    const char c = next();
    switch (c) {
      case 's':
        return add(kSpace, false);
      case 'S':
        return add(kNotSpace, false);
      case 'd':
      case 'D':
        return add(category("Nd"), c == 'D');
      case 'w':
      case 'W':
        return add(word(), c == 'W');
      case 'p':
      case 'P':
        return property(c == 'P');
      case 'u':
        return code_point_escape();
      case 'v':
        out_ += "\\x0B";
        return;
      default:
        break;
    }
    constexpr std::string_view kSame = "rntfaexAzZ";
    if (std::isalpha(static_cast<unsigned char>(c)) != 0 && kSame.find(c) == kSame.npos) {
      unsupported(std::string("\\") + c);
    }
    (out_ += '\\') += c;
  }

  void property(bool negated) {
    if (next() != '{') unsupported("a property without braces");
    const std::size_t close = pattern_.find('}', at_);
    if (close == pattern_.npos) throw std::invalid_argument("a property lacks its }");
    std::string name(pattern_.substr(at_, close - at_));
    at_ = close + 1;
    if (name.starts_with('^')) {
      negated = !negated;
      name.erase(0, 1);
    }
    // PCRE2 counts later assignments as unassigned still, and that cannot be taken away.
    if (name == "C" || name == "Cn") unsupported("\\p{" + name + "}");
    if (name.size() <= 2) return add(category(name), negated);
    add("\\p{sc:" + name + "}", negated);  // a script; PCRE2's default is script extensions
  }

  void code_point_escape() {
    const std::string_view digits = pattern_.substr(at_, 4);
    if (digits.size() < 4) throw std::invalid_argument("\\u needs four digits");
    at_ += 4;
    out_ += "\\x{" + std::string(digits) + "}";
  }

  std::string_view pattern_;
  std::size_t at_ = 0;
  bool in_set_ = false;
  std::string out_;
  std::size_t atom_ = 0;             // in out_: what a quantifier repeats
  std::vector<std::size_t> groups_;  // in out_: the open ones
};

}  // namespace

std::string pcre2_from_oniguruma(std::string_view pattern) {
  return Translator(pattern).translate();
}

}  // namespace quench::model::tokenization
