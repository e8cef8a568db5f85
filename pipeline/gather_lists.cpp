#include "pipeline/gather_lists.hpp"

#include <sstream>
#include <string>

#include "cluster/collectives.hpp"

namespace quench::pipeline {

using nlohmann::json;

json gather_lists(cluster::Communicator& comm, const json& own) {
  const auto text = own.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  const auto all = cluster::all_gather<char>(comm, text).values;
  std::istringstream lines(std::string(all.begin(), all.end()));
  json joined = json::array();
  for (std::string line; std::getline(lines, line);)
    for (auto& item : json::parse(line)) joined.push_back(std::move(item));
  return joined;
}

}  // namespace quench::pipeline
