#include "stages/selection/general.hpp"

#include <cmath>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "cluster/embedded_file.hpp"
#include "cluster/error.hpp"

QUENCH_EMBED(quench_english, QUENCH_ENGLISH);

namespace quench::selection {

namespace {

WordFrequency parse(const std::string& line, const std::string& place) {
  const auto tab = line.find('\t');
  if (tab == 0 || tab == std::string::npos)
    throw DataError(place + ", field word: a line is WORD, tab, COUNT");
  std::size_t used = 0;
  double count = -1;
  try {
    count = std::stod(line.substr(tab + 1), &used);
  } catch (const std::exception&) {
  }
  if (used != line.size() - tab - 1 || !(count >= 0 && count <= 1e6))
    throw DataError(place + ", field count: '" + line.substr(tab + 1) +
                    "' is no number of sentences from 0 to 1000000");
  return {line.substr(0, tab), count / 1e6};
}

std::string capitalised(std::string word) {
  if (!word.empty() && word[0] >= 'a' && word[0] <= 'z') word[0] = static_cast<char>(word[0] - 32);
  return word;
}

}  // namespace

std::vector<WordFrequency> read_frequencies(const std::filesystem::path& file) {
  std::istringstream built_in;
  std::ifstream given;
  if (file.empty()) built_in.str(std::string(quench_english_begin, quench_english_end));
  if (!file.empty()) given.open(file);
  if (!file.empty() && (!given || std::filesystem::is_directory(file)))
    throw DataError(file.string() +
                    ": cannot be read; selection.frequencies names a table of words");
  std::istream& stream = file.empty() ? static_cast<std::istream&>(built_in) : given;
  std::vector<WordFrequency> words;
  std::int64_t number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() || line[0] == '#') continue;
    words.push_back(parse(line, file.string() + ": line " + std::to_string(number)));
  }
  return words;
}

DocumentFrequencies general_frequencies(
    std::span<const WordFrequency> words,
    const std::function<std::vector<std::int32_t>(const std::string&)>& encode,
    std::int64_t sentences) {
  std::map<std::int32_t, double> absent;  // token -> share of sentences without it
  for (const auto& [word, share] : words) {
    std::set<std::int32_t> tokens;
    for (const auto& form : {word, capitalised(word)})
      for (const auto& text : {form, " " + form})
        for (const auto token : encode(text)) tokens.insert(token);
    for (const auto token : tokens) absent.emplace(token, 1).first->second *= 1 - share;
  }
  DocumentFrequencies out;
  out.sentences = sentences;
  for (const auto& [token, share] : absent) {
    const auto count = std::llround((1 - share) * static_cast<double>(sentences));
    if (count == 0) continue;
    out.ids.push_back(token);
    out.counts.push_back(static_cast<std::int32_t>(count));
  }
  return out;
}

}  // namespace quench::selection
