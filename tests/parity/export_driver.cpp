#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cluster/communicator.hpp"
#include "cluster/error.hpp"
#include "model/export.hpp"
#include "model/patch.hpp"

// export_driver SOURCE EDIT.json OUT [PATCH]: exports the model with an edit, {"ids": [...],
// "values": [[...], ...], "strength": s, "shard_bytes": n}: the rows of these ids less s times the
// values; and the edit as a patch.
int main(int argc, char** argv) try {
  namespace model = quench::model;
  if (argc != 4 && argc != 5)
    throw quench::ConfigError("usage: export_driver SOURCE EDIT.json OUT [PATCH]");
  const std::filesystem::path source = argv[1];
  const auto edit = nlohmann::json::parse(std::ifstream(argv[2]));

  const auto config = model::read_config(source);
  const auto checkpoint = model::Checkpoint::open(source);
  const auto self = quench::cluster::make_self_communicator();
  const auto shared = model::load_weights(*self, config, checkpoint);
  model::RowDeltas deltas{config.width, edit.at("ids").get<std::vector<std::int32_t>>(), {}};
  for (const auto& row : edit.at("values"))
    for (const auto& value : row) deltas.values.push_back(value.get<float>());
  const auto overlay = model::make_overlay(shared.weights.embedding, config.stored_type, deltas,
                                           edit.at("strength").get<double>());
  model::export_model(source, config, checkpoint, overlay, argv[3], R"({"test": true})", false,
                      edit.at("shard_bytes").get<std::int64_t>());
  if (argc == 5)
    model::write_patch(config, checkpoint, overlay, argv[4], {{"model", source.filename()}});
} catch (const quench::Error& error) {
  std::cerr << error.what() << '\n';
  return static_cast<int>(error.code());
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return static_cast<int>(quench::ExitCode::internal);
}
