#pragma once

#include <string>
#include <vector>

namespace quench::report {

// Columns of a string in a terminal: code points, wide East Asian characters and emoji count two,
// combining marks none.
std::size_t display_width(const std::string& utf8);
// Cut to a display width, with an ellipsis where something is cut.
std::string cut_to_width(const std::string& utf8, std::size_t width);

// A table for a terminal: the first column left-aligned and cut to 28 columns, the others
// right-aligned.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header) : header_(std::move(header)) {}
  void add_columns(const std::vector<std::string>& names) {
    header_.insert(header_.end(), names.begin(), names.end());
  }
  // Rows may be shorter than the header. A row of no cells is a rule. Control characters become
  // spaces: a name must not move the cursor.
  void add_row(std::vector<std::string> cells);
  std::string text() const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace quench::report
