#include "stages/report/text_table.hpp"

#include <algorithm>

namespace quench::report {

namespace {

constexpr std::size_t first_column = 28;

// The code point at `at` and the bytes it takes; an invalid byte stands for itself.
std::pair<char32_t, std::size_t> code_point(const std::string& text, std::size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  const std::size_t bytes = lead < 0x80    ? 1
                            : lead >= 0xF0 ? 4
                            : lead >= 0xE0 ? 3
                            : lead >= 0xC0 ? 2
                                           : 1;
  char32_t value = bytes == 1 ? lead : lead & (0xFFu >> (bytes + 1));
  if (at + bytes > text.size()) return {lead, 1};
  for (std::size_t i = 1; i < bytes; ++i) {
    const auto next = static_cast<unsigned char>(text[at + i]);
    if ((next & 0xC0) != 0x80) return {lead, 1};
    value = (value << 6) | (next & 0x3Fu);
  }
  return {value, bytes};
}

struct Block {
  char32_t first, last;
};

bool in_any(char32_t c, std::initializer_list<Block> blocks) {
  return std::ranges::any_of(blocks, [c](Block b) { return c >= b.first && c <= b.last; });
}

// By blocks of the Unicode character database: combining marks and joiners; wide scripts and emoji.
std::size_t width_of(char32_t c) {
  if (in_any(c, {{0x0300, 0x036F}, {0x200B, 0x200F}, {0x20D0, 0x20FF}, {0xFE00, 0xFE0F}})) return 0;
  if (in_any(c, {{0x1100, 0x115F},
                 {0x2E80, 0xA4CF},
                 {0xAC00, 0xD7A3},
                 {0xF900, 0xFAFF},
                 {0xFE30, 0xFE6F},
                 {0xFF00, 0xFF60},
                 {0x1F300, 0x1FAFF},
                 {0x20000, 0x3FFFD}})) {
    return 2;
  }
  return 1;
}

std::string padded(const std::string& cell, std::size_t width, bool left) {
  const std::size_t fill = width - std::min(width, display_width(cell));
  const std::string spaces(fill, ' ');
  return left ? cell + spaces : spaces + cell;
}

// Controls of ASCII and of Latin-1 (U+0080 to U+009F), breaks and changes of direction as spaces.
std::string without_controls(const std::string& text) {
  std::string clean;
  for (std::size_t at = 0; at < text.size();) {
    const auto [value, bytes] = code_point(text, at);
    const bool control =
        in_any(value, {{0, 0x1F}, {0x7F, 0x9F}, {0x2028, 0x202E}, {0x2066, 0x2069}});
    clean += control ? std::string(" ") : text.substr(at, bytes);
    at += bytes;
  }
  return clean;
}

}  // namespace

std::size_t display_width(const std::string& utf8) {
  std::size_t width = 0;
  for (std::size_t at = 0; at < utf8.size();) {
    const auto [value, bytes] = code_point(utf8, at);
    width += width_of(value);
    at += bytes;
  }
  return width;
}

std::string cut_to_width(const std::string& utf8, std::size_t width) {
  if (display_width(utf8) <= width) return utf8;
  std::size_t used = 0, at = 0;
  while (at < utf8.size()) {
    const auto [value, bytes] = code_point(utf8, at);
    if (used + width_of(value) > width - 1) break;
    used += width_of(value);
    at += bytes;
  }
  return utf8.substr(0, at) + "…";
}

void TextTable::add_row(std::vector<std::string> cells) {
  for (auto& cell : cells) cell = without_controls(cell);
  rows_.push_back(std::move(cells));
}

std::string TextTable::text() const {
  std::vector<std::size_t> widths(header_.size(), 0);
  const auto cell_of = [&](const std::vector<std::string>& row, std::size_t column) {
    const std::string cell = column < row.size() ? row[column] : "";
    return column == 0 ? cut_to_width(cell, first_column) : cell;
  };
  const auto measure = [&](const std::vector<std::string>& row) {
    for (std::size_t c = 0; c < header_.size(); ++c) {
      widths[c] = std::max(widths[c], display_width(cell_of(row, c)));
    }
  };
  measure(header_);
  for (const auto& row : rows_) measure(row);
  std::size_t total = 2 * (header_.size() - 1);
  for (const auto width : widths) total += width;
  std::string rule;
  for (std::size_t i = 0; i < total; ++i) rule += "─";
  rule += "\n";
  const auto line = [&](const std::vector<std::string>& row) {
    if (row.empty()) return rule;
    std::string out;
    for (std::size_t c = 0; c < header_.size(); ++c) {
      out += (c == 0 ? "" : "  ") + padded(cell_of(row, c), widths[c], c == 0);
    }
    return out + "\n";
  };
  std::string out = line(header_) + rule;
  for (const auto& row : rows_) out += line(row);
  return out;
}

}  // namespace quench::report
