#include "stages/report/page.hpp"

#include <string_view>

#include "cluster/embedded_file.hpp"

QUENCH_EMBED(quench_page_html, QUENCH_PAGE_DIR "/page.html");
QUENCH_EMBED(quench_page_css, QUENCH_PAGE_DIR "/page.css");
QUENCH_EMBED(quench_page_js, QUENCH_PAGE_DIR "/page.js");
QUENCH_EMBED(quench_chart_js, QUENCH_CHART_JS);

namespace quench::report {

namespace {

void replace(std::string& text, std::string_view placeholder, std::string_view with) {
  const auto at = text.find(placeholder);
  if (at != std::string::npos) text.replace(at, placeholder.size(), with);
}

// JSON that is safe inside a script element.
std::string script_json(const nlohmann::json& document) {
  const auto plain =
      document.dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace);
  std::string safe;
  safe.reserve(plain.size());
  for (const char c : plain) {
    if (c == '<') {
      safe += "\\u003c";
    } else {
      safe += c;
    }
  }
  return safe;
}

}  // namespace

std::string html_page(const nlohmann::json& document) {
  std::string page(quench_page_html_begin, quench_page_html_end);
  replace(page, "{{css}}", {quench_page_css_begin, quench_page_css_end});
  replace(page, "{{chart}}", {quench_chart_js_begin, quench_chart_js_end});
  replace(page, "{{script}}", {quench_page_js_begin, quench_page_js_end});
  replace(page, "{{data}}", script_json(document));
  return page;
}

}  // namespace quench::report
