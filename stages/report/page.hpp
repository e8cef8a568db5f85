#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace quench::report {

// The page: one HTML file with its style, scripts and data inside; opens offline. Text of any kind
// in the document is safe: it travels as JSON whose every '<' is escaped, and the script sets it as
// text.
std::string html_page(const nlohmann::json& document);

}  // namespace quench::report
