#include "model/chat_template.hpp"

#include <algorithm>
#include <array>

#include "cluster/error.hpp"
#include "model/files.hpp"
#include "model/tokenizer/json_field.hpp"
#include "model/tokenizer/unicode.hpp"

namespace quench::model {

using namespace tokenization;

namespace {

struct Source {
  std::filesystem::path file;
  std::string text;
  std::string bos;  // text of the BOS token; empty without one
};

struct Turn {
  std::string before, after;
};

constexpr std::int64_t kLargestTemplate = std::int64_t{1} << 24;

// A string, or a list of named templates, of which "default" counts.
std::string template_in(const JsonField& field) {
  if (!field.json().is_array()) return field.string();
  for (const JsonField& named : field.elements()) {
    if (named.at("name").string() == "default") return named.at("template").string();
  }
  field.fail("has no template named default");
}

std::optional<Source> find_template(const std::filesystem::path& dir) {
  const auto own_file = dir / "chat_template.jinja";
  Source source{dir / "tokenizer_config.json", "", ""};
  const bool has_own_file = is_there(own_file);
  bool found = has_own_file;
  if (is_there(source.file)) {
    const JsonField config = JsonField::read(source.file);
    if (config.has("bos_token")) {
      const JsonField bos = config.at("bos_token");
      source.bos = bos.json().is_object() ? bos.at("content").string() : bos.string();
    }
    if (!has_own_file && config.has("chat_template")) {
      source.text = template_in(config.at("chat_template"));
      found = true;
    }
  }
  if (has_own_file) {
    source.file = own_file;
    source.text = read_text(own_file, kLargestTemplate);
  }
  return found ? std::optional(source) : std::nullopt;
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

Turn gemma_turn(const Source&) {
  return {"<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n"};
}

// Llama 3.1 and later open with a system block; its date is the template's default one.
Turn llama3_turn(const Source& source) {
  std::string before;
  if (contains(source.text, "Cutting Knowledge Date")) {
    before =
        "<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
        "Today Date: 26 Jul 2024\n\n<|eot_id|>";
  }
  return {before + "<|start_header_id|>user<|end_header_id|>\n\n",
          "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"};
}

// The system prompt that stands in the template for conversations that bring none; the newline
// after "system" is a real one or an escaped one of a string literal.
std::string default_system_block(std::string_view text) {
  constexpr std::string_view kStart = "<|im_start|>system", kEnd = "<|im_end|>";
  for (std::size_t at = text.find(kStart); at != text.npos; at = text.find(kStart, at + 1)) {
    std::string_view rest = text.substr(at + kStart.size());
    if (!rest.starts_with("\n") && !rest.starts_with("\\n")) continue;
    rest.remove_prefix(rest.front() == '\n' ? 1 : 2);
    const std::string_view prompt = rest.substr(0, rest.find(kEnd));
    const bool is_text = prompt.find_first_of("'\"{}") == prompt.npos;
    if (prompt.size() == rest.size() || prompt.empty() || !is_text) continue;
    return std::string(kStart) + "\n" + std::string(prompt) + std::string(kEnd) + "\n";
  }
  return "";
}

Turn chatml_turn(const Source& source) {
  return {default_system_block(source.text) + "<|im_start|>user\n",
          "<|im_end|>\n<|im_start|>assistant\n"};
}

struct Family {
  std::string_view name;
  std::vector<std::string> markers;  // the first one gives the family away
  Turn (*turn)(const Source&);
};

const std::array<Family, 3>& families() {
  static const std::array<Family, 3> known{{
      {"gemma", {"<start_of_turn>", "<end_of_turn>"}, gemma_turn},
      {"llama3", {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}, llama3_turn},
      {"chatml", {"<|im_start|>", "<|im_end|>"}, chatml_turn},
  }};
  return known;
}

// As Jinja's filter trim, which strips what Python counts as white space.
std::string_view trim(std::string_view text) {
  const auto separator = [](char c) { return c >= 0x1C && c <= 0x1F; };
  for (std::size_t before = text.size() + 1; text.size() < before;) {
    before = text.size();
    text.remove_prefix(leading_white_space(text));
    text.remove_suffix(trailing_white_space(text));
    while (!text.empty() && separator(text.front())) text.remove_prefix(1);
    while (!text.empty() && separator(text.back())) text.remove_suffix(1);
  }
  return text;
}

}  // namespace

std::optional<ChatTemplate> ChatTemplate::detect(const std::filesystem::path& model_dir,
                                                 const Tokenizer& tokenizer) {
  const std::optional<Source> source = find_template(model_dir);
  if (!source) return std::nullopt;
  const auto family = std::find_if(
      families().begin(), families().end(),
      [&](const Family& candidate) { return contains(source->text, candidate.markers.front()); });
  if (family == families().end()) {
    throw UnsupportedTemplate(
        source->file.string() +
        ": chat_template: of no known family (gemma, llama3, chatml); use plain prompts");
  }
  for (const std::string& marker : family->markers) {
    if (tokenizer.token_to_id(marker)) continue;
    throw UnsupportedTemplate(source->file.string() + ": chat_template: needs the token " + marker +
                              ", which tokenizer.json lacks; use plain prompts");
  }
  ChatTemplate result;
  Turn turn = family->turn(*source);
  result.family_ = family->name;
  result.before_ = (contains(source->text, "bos_token") ? source->bos : "") + turn.before;
  result.after_ = std::move(turn.after);
  result.trims_ = contains(source->text, "| trim") || contains(source->text, "|trim");
  return result;
}

std::string ChatTemplate::render_user_turn(std::string_view user_text) const {
  return before_ + std::string(trims_ ? trim(user_text) : user_text) + after_;
}

std::vector<std::int32_t> ChatTemplate::encode_user_turn(const Tokenizer& tokenizer,
                                                         std::string_view user_text) const {
  std::vector<std::int32_t> ids = tokenizer.encode(render_user_turn(user_text));
  const std::vector<std::int32_t>& prefix = tokenizer.special_prefix();
  const bool there =
      ids.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), ids.begin());
  if (!there) ids.insert(ids.begin(), prefix.begin(), prefix.end());
  return ids;
}

}  // namespace quench::model
