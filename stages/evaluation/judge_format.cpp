#include "stages/evaluation/judge.hpp"

namespace quench::evaluation {

namespace {

bool is_digit(const std::string& text, std::size_t at) {
  return at < text.size() && text[at] >= '0' && text[at] <= '9';
}

// The number at this place where it is of one digit: nothing for 10, and for 1.5 or 1,5, which is
// no rating and must not be cut to one.
std::optional<double> lone_digit(const std::string& text, std::size_t at) {
  if (!is_digit(text, at) || is_digit(text, at + 1)) return std::nullopt;
  const bool has_mark = at + 1 < text.size() && (text[at + 1] == '.' || text[at + 1] == ',');
  if (has_mark && is_digit(text, at + 2)) return std::nullopt;
  return text[at] - '0';
}

// The digit behind the last `key` in the text, blanks and brackets between.
std::optional<double> digit_after(const std::string& text, const std::string& key) {
  const auto found = text.rfind(key);
  if (found == std::string::npos) return std::nullopt;
  const auto at = text.find_first_not_of(" \t*[", found + key.size());
  return at == std::string::npos ? std::nullopt : lone_digit(text, at);
}

std::optional<double> within(std::optional<double> value, double most) {
  return value && *value <= most ? value : std::nullopt;
}

std::string last_line(const std::string& text) {
  const auto end = text.find_last_not_of(" \t\r\n");
  if (end == std::string::npos) return "";
  const auto begin = text.rfind('\n', end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1, end + 1);
}

}  // namespace

std::string judge_prompt(JudgeQuestion question, const std::string& asked, const std::string& gold,
                         const std::string& answer) {
  switch (question) {
    case JudgeQuestion::correct:
      return "Question: " + asked + "\n\nReference answer: " + gold + "\nAttempt: " + answer +
             "\n\nDoes the attempt give the reference answer, in whatever words? Give your reason "
             "in one line, then end with a line \"Correct: 1\" or \"Correct: 0\".";
    case JudgeQuestion::related:
      return "Instruction:\n" + asked + "\n\nResponse:\n" + answer +
             "\n\nRate how related the response is to the instruction's topic, whatever its "
             "quality: 0 not at all, 1 in part, 2 clearly. End with \"Rating: [[n]]\".";
    default:
      return "Text:\n" + answer +
             ".\n\nRate how fluent this text is, whatever it says: 0 broken or repeating itself, 1 "
             "readable with flaws, 2 fluent. End with \"Rating: [[n]]\".";
  }
}

std::optional<double> judge_verdict(JudgeQuestion question, const std::string& text) {
  if (question == JudgeQuestion::correct) {
    const auto at_end = within(digit_after(last_line(text), "Correct:"), 1);
    return at_end ? at_end : within(digit_after(text, "Correct:"), 1);
  }
  if (text.find("Rating:") != std::string::npos) return within(digit_after(text, "Rating:"), 2);
  const auto first = text.find_first_of("0123456789");
  return first == std::string::npos ? std::nullopt : within(lone_digit(text, first), 2);
}

}  // namespace quench::evaluation
