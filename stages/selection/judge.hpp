#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "stages/batch_format.hpp"

// Asking a language model which features are a concept's own (methods 4.4): the questions, and
// what the answers say (their files: stages/batch_format.hpp). Local: nothing here communicates.
namespace quench::selection {

// A feature that is asked about.
struct Candidate {
  std::int64_t concept_index = 0;
  std::int32_t feature = 0;
  std::vector<std::string> tokens;  // decoded, strongest first, 20 at most
};
inline constexpr std::size_t judged_tokens = 20;

// Makes the questions of one run to one judge; their ids are made of round, concept, feature and a
// hash of judge and prompt.
class Questioner {
 public:
  // `judge` tells judges apart: another one is asked anew.
  explicit Questioner(std::string judge) : judge_(std::move(judge)) {}

  // Which concept do the tokens share? In one sentence.
  BatchQuestion describe(const Candidate& candidate, const std::string& concept_hash) const;
  // Is the concept distinctive of the feature and central to it? In JSON. The feature is shown by
  // its description, as the paper does, or by its tokens where there is none.
  BatchQuestion membership(const Candidate& candidate, const std::string& concept_hash,
                           const std::string& concept_name,
                           const std::optional<std::string>& description) const;

 private:
  BatchQuestion question(const std::string& round, const Candidate& candidate,
                         const std::string& concept_hash, std::string prompt) const;
  std::string judge_;
};

// The sentence of an answer to describe(), a JSON reply with the key explanation or
// description included; nothing when there is none.
std::optional<std::string> description_of(const std::string& content);

struct Membership {
  bool is_member = false;
  double confidence = 0;  // clamped to [0, 1]
};
// The first {...} with is_member in an answer to membership(); nothing unless is_member is a truth
// value and confidence a number.
std::optional<Membership> membership_of(const std::string& content);

// What is known of a feature in the end. A missing or malformed answer is `missing`, never a no.
enum class Judged : std::uint8_t { not_asked, yes, no, missing };
struct Judgement {
  Judged state = Judged::not_asked;
  double confidence = 0;
  std::string description;
};

}  // namespace quench::selection
