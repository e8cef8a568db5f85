#include "stages/report/gather.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <memory>
#include <numeric>
#include <optional>

#include "cluster/error.hpp"
#include "cluster/store.hpp"
#include "model/tokenizer.hpp"
#include "stages/manifest.hpp"
#include "stages/report/attacks.hpp"
#include "stages/report/examples.hpp"
#include "stages/report/values.hpp"
#include "stages/schemas.hpp"

namespace quench::report {

using cluster::Range;
using cluster::StoreReader;
using nlohmann::json;

namespace {

constexpr std::int64_t most_tokens = 200;      // edited tokens shown of a concept
constexpr std::int64_t most_features = 25;     // selected features shown of a concept
constexpr std::int64_t feature_tokens = 8;     // tokens shown of a feature
constexpr std::int64_t most_points = 120;      // points of an objective trace
constexpr std::int64_t most_collisions = 500;  // shared tokens shown

// 0 .. count - 1 sorted by before(a, b), equals as they are.
template <typename Before>
std::vector<std::size_t> order_of(std::size_t count, const Before& before) {
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, before);
  return order;
}

// Null for a file that is missing or damaged.
json read_json(const std::filesystem::path& file) {
  std::ifstream stream(file);
  if (!stream) return {};
  auto value = json::parse(stream, nullptr, /*allow_exceptions=*/false);
  return value.is_discarded() ? json() : value;
}

// The run's files, opened where they are complete, and the document that grows from them.
class Gatherer {
 public:
  Gatherer(std::filesystem::path directory, const Options& options, const Sensitive& sensitive)
      : directory_(std::move(directory)),
        options_(options),
        sensitive_(sensitive),
        corpus_(directory_ / "corpus.h5", "corpus", schemas::corpus),
        count_(corpus_.shape("concepts/sentence_count")[0]) {
    document_["concepts"] = json::array();
    const auto names = corpus_.read_strings("concepts/name");
    for (const auto& name : names) document_["concepts"].push_back({{"name", name}});
  }

  json gather() {
    add_manifest();
    if (const auto store = open("baseline.h5", "baseline", schemas::evaluation))
      add_knowledge(*store);
    if (const auto store = open("dictionary.h5", "dictionary", schemas::dictionary))
      add_dictionary(*store);
    if (const auto store = open("selection.h5", "selection", schemas::selection))
      add_selection(*store);
    if (const auto store = open("edits.h5", "erasure", schemas::edits)) add_edits(*store);
    if (const auto store = open("evaluation.h5", "evaluation", schemas::evaluation)) {
      add_evaluation(*store);
      // Verdicts on an earlier evaluation's answers say nothing of this one's.
      const auto verdicts = open("judgement.h5", "judgement", schemas::judgement);
      if (verdicts && verdicts->header().inputs_hash == store->header().inputs_hash)
        add_judgement(*verdicts);
    }
    if (const auto store = open("relearning.h5", "relearning", schemas::relearning))
      add_attacks(*store, document_);
    add_examples();
    return std::move(document_);
  }

 private:
  // Null for a file that is missing or not yet complete: a report can be made at any time.
  std::unique_ptr<StoreReader> open(const std::string& file, const std::string& stage,
                                    std::int64_t version) const {
    try {
      return std::make_unique<StoreReader>(directory_ / file, stage, version);
    } catch (const DataError&) {
      return nullptr;
    }
  }

  json& of(std::int64_t concept_index) { return document_["concepts"][concept_index]; }

  std::string token(std::int32_t id) const {
    return tokenizer_ ? tokenizer_->decode(std::vector<std::int32_t>{id}, false)
                      : "#" + std::to_string(id);
  }

  void add_manifest() {
    document_["manifest"] = read_json(directory_ / "manifest.json");
    document_["timings"] = read_json(directory_ / "timings.json");
    const json::json_pointer model_place("/configuration/run.model");
    const auto& manifest = document_["manifest"];
    if (!manifest.contains(model_place) || !manifest[model_place].is_string()) return;
    try {
      tokenizer_ = model::Tokenizer::from_file(model_directory_of(manifest) / "tokenizer.json");
    } catch (const Error&) {
      document_["notes"].push_back("The model directory is not at hand: tokens are shown as ids.");
    }
  }

  void add_knowledge(const StoreReader& store) {
    const auto margin = store.read<double>("knowledge/margin");
    const auto low = store.read<double>("knowledge/low");
    const auto high = store.read<double>("knowledge/high");
    const auto known = store.read<std::uint8_t>("knowledge/known");
    for (std::int64_t c = 0; c < count_; ++c) {
      of(c)["base_margin"] = numbers(std::array{margin[c], low[c], high[c]});
      of(c)["known"] = known[c] != 0;
    }
  }

  void add_dictionary(const StoreReader& store) {
    const auto objective = store.read_ragged<double>("dictionaries/objective");
    const auto reason = store.read_strings("dictionaries/stop_reason");
    const auto ridge = store.read<double>("dictionaries/ridge");
    const bool joint = store.number_attribute("/", "joint") != 0;
    for (std::int64_t c = 0; c < count_; ++c) {
      const auto place = joint ? 0 : c;
      const auto& trace = objective[place];
      const auto stride = std::max<std::int64_t>(1, std::ssize(trace) / most_points);
      json points = json::array();
      for (std::int64_t i = 0; i < std::ssize(trace); i += stride)
        points.push_back({i, number(trace[i])});
      of(c)["objective"] = points;
      of(c)["stop_reason"] = reason[place];
      of(c)["ridge"] = number(ridge[place]);
      of(c)["iterations"] = trace.size();
    }
  }

  void add_selection(const StoreReader& store) {
    const auto ids = store.read_ragged<std::int32_t>("tokens/ids");
    const auto z = store.read_ragged<double>("tokens/z");
    for (std::int64_t c = 0; c < count_; ++c) {
      const auto order = order_of(ids[c].size(), [&](auto a, auto b) { return z[c][a] > z[c][b]; });
      json tokens = json::array();
      for (const auto i : order) {
        if (std::ssize(tokens) == most_tokens) break;
        tokens.push_back({token(ids[c][i]), number(z[c][i])});
      }
      of(c)["tokens"] = tokens;
      of(c)["token_count"] = ids[c].size();
    }
    add_variants(store);
    add_features(store);
    add_collisions(store);
  }

  void add_variants(const StoreReader& store) {
    const auto ids = store.read_ragged<std::int32_t>("variants/ids");
    const auto stems = store.read_ragged<std::int32_t>("variants/stems");
    const auto alone = store.read<std::uint8_t>("concepts/alone");
    for (std::int64_t c = 0; c < count_; ++c) {
      json variants = json::array();
      for (std::size_t i = 0; i < std::min<std::size_t>(ids[c].size(), most_tokens); ++i)
        variants.push_back({token(ids[c][i]), token(stems[c][i])});
      of(c)["variants"] = variants;
      of(c)["variant_count"] = ids[c].size();
      of(c)["contrasted_alone"] = alone[c] != 0;
    }
    const auto judged = store.read<std::uint8_t>("features/judged");
    constexpr std::uint8_t not_asked = 0, missing = 3;  // selection.h5
    const auto asked = std::ssize(judged) - std::ranges::count(judged, not_asked);
    document_["judge"] = {{"asked", asked}, {"missing", std::ranges::count(judged, missing)}};
  }

  void add_features(const StoreReader& store) {
    const auto dictionary = open("dictionary.h5", "dictionary", schemas::dictionary);
    const auto counts = store.read<std::int64_t>("concepts/feature_count");
    const auto contrast = store.read<double>("features/contrast");
    const auto share = store.read<double>("features/own_share");
    const auto ratio = store.read<double>("features/ratio");
    const auto selected = store.read<std::uint8_t>("features/selected");
    std::int64_t first = 0;
    for (std::int64_t c = 0; c < count_; first += counts[c++]) {
      std::vector<std::int64_t> chosen;
      for (std::int64_t k = 0; k < counts[c]; ++k) {
        if (selected[first + k]) chosen.push_back(k);
      }
      of(c)["feature_count"] = chosen.size();
      std::ranges::stable_sort(
          chosen, [&](auto a, auto b) { return contrast[first + a] > contrast[first + b]; });
      if (std::ssize(chosen) > most_features) chosen.resize(most_features);
      json features = json::array();
      for (const auto k : chosen) {
        features.push_back(
            {{"id", k},
             {"contrast", number(contrast[first + k])},
             {"own_share", number(share[first + k])},
             {"ratio", number(ratio[first + k])},
             {"tokens", dictionary ? strongest(*dictionary, c, first, k) : json::array()}});
      }
      of(c)["features"] = features;
    }
  }

  // The tokens of largest coefficient of a feature.
  json strongest(const StoreReader& dictionary, std::int64_t c, std::int64_t first,
                 std::int64_t k) const {
    const bool joint = dictionary.number_attribute("/", "joint") != 0;
    const auto feature = joint ? k : first + k;
    const auto rows =
        dictionary.read_ragged<std::int32_t>("g/rows", Range{feature, feature + 1})[0];
    const auto values = dictionary.read_ragged<float>("g/values", Range{feature, feature + 1})[0];
    const auto place = joint ? 0 : c;
    const auto tokens =
        dictionary.read_ragged<std::int32_t>("dictionaries/tokens", Range{place, place + 1})[0];
    const auto order = order_of(
        rows.size(), [&](auto a, auto b) { return std::abs(values[a]) > std::abs(values[b]); });
    json list = json::array();
    for (const auto i : order) {
      if (std::ssize(list) == feature_tokens) break;
      list.push_back(token(tokens[rows[i]]));
    }
    return list;
  }

  void add_collisions(const StoreReader& store) {
    const auto tokens = store.read<std::int32_t>("collisions/tokens");
    const auto concepts = store.read_ragged<std::int64_t>("collisions/concepts");
    const auto order = order_of(
        tokens.size(), [&](auto a, auto b) { return concepts[a].size() > concepts[b].size(); });
    document_["collision_count"] = tokens.size();
    document_["collisions"] = json::array();
    for (const auto i : order) {
      if (std::ssize(document_["collisions"]) == most_collisions) break;
      document_["collisions"].push_back({token(tokens[i]), concepts[i]});
    }
  }

  void add_edits(const StoreReader& store) {
    const auto strength = store.read<double>("edits/strength");
    const auto status = store.read_strings("edits/status");
    for (std::int64_t c = 0; c < count_; ++c) {
      of(c)["strength"] = number(strength[c]);
      of(c)["status"] = status[c];
      of(c)["cells"] = json::array();
    }
    const auto names = store.read_strings("cells/figures");
    const auto concepts = store.read<std::int64_t>("cells/concept");
    const auto strengths = store.read<double>("cells/strength");
    const auto passed = store.read<std::uint8_t>("cells/passed");
    const auto error = store.read<double>("cells/error");
    const auto scores = store.read<double>("cells/scores");
    for (std::size_t i = 0; i < concepts.size(); ++i) {
      auto cell = figures(names, std::span(scores).subspan(i * names.size(), names.size()));
      cell["strength"] = number(strengths[i]);
      cell["passed"] = passed[i] != 0;
      cell["error"] = number(error[i]);
      of(concepts[i])["cells"].push_back(std::move(cell));
    }
    document_["search"] = store.text_attribute("/", "search");
    document_["target_efficacy"] = number(store.number_attribute("/", "target_efficacy"));
    add_back_off(store, names);
    add_overlaps(store);
  }

  // What concepts do to each other's edits.
  void add_overlaps(const StoreReader& store) {
    const auto shared = store.read_ragged<std::int32_t>("edits/shared");
    const auto dropped = store.read_ragged<std::int32_t>("edits/dropped");
    for (std::int64_t c = 0; c < count_; ++c) {
      of(c)["shared_count"] = shared[c].size();
      of(c)["dropped"] = json::array();
      for (const auto id : dropped[c]) of(c)["dropped"].push_back(token(id));
    }
    const auto first = store.read<std::int64_t>("overlaps/first");
    const auto second = store.read<std::int64_t>("overlaps/second");
    const auto tokens = store.read<std::int64_t>("overlaps/tokens");
    const auto cosine = store.read<double>("overlaps/cosine");
    const auto order =
        order_of(first.size(), [&](auto a, auto b) { return tokens[a] > tokens[b]; });
    document_["overlaps"] = json::array();
    for (const auto i : order) {
      if (std::ssize(document_["overlaps"]) == most_collisions) break;
      document_["overlaps"].push_back({first[i], second[i], tokens[i], number(cosine[i])});
    }
  }

  void add_back_off(const StoreReader& store, const std::vector<std::string>& names) {
    const auto factors = store.read<double>("joint/factors");
    const auto scores = store.read<double>("joint/scores");
    json tried = json::array();
    for (std::size_t i = 0; i < factors.size(); ++i) {
      tried.push_back(figures(names, std::span(scores).subspan(i * names.size(), names.size())));
      tried.back()["factor"] = number(factors[i]);
    }
    document_["joint"] = {{"tried", tried},
                          {"factor", number(store.number_attribute("/", "joint_factor"))},
                          {"status", store.text_attribute("/", "joint_status")},
                          {"shared_tokens", store.text_attribute("/", "shared_tokens")}};
  }

  void add_evaluation(const StoreReader& store) {
    const auto columns = store.read_strings("figures");
    const auto status = store.read_strings("status");
    for (const char* which : {"alone", "joint"}) {
      const auto rows = store.read<double>(std::string(which) + "/scores");
      for (std::int64_t c = 0; c < count_; ++c) {
        const auto row = std::span(rows).subspan(c * columns.size(), columns.size());
        of(c)[which] = figures(columns, row);
      }
      document_["mean"][which] = figures(columns, store.read<double>(std::string(which) + "/mean"));
    }
    for (std::int64_t c = 0; c < count_; ++c) of(c)["status"] = status[c];
    document_["counted"] = store.number_attribute("/", "counted_concepts");
    document_["objective"] = store.text_attribute("/", "objective");
    document_["form"] = store.text_attribute("/", "form");
    add_curve(store, columns);
  }

  void add_curve(const StoreReader& store, const std::vector<std::string>& columns) {
    const auto erased = store.read<std::int64_t>("curve/erased");
    const auto rows = store.read<double>("curve/means"), alone = store.read<double>("curve/alone");
    const auto point_of = [&](const std::vector<double>& all, std::size_t p) {
      return figures(columns, std::span(all).subspan(p * columns.size(), columns.size()));
    };
    document_["curve"] = json::array();
    for (std::size_t p = 0; p < erased.size(); ++p) {
      auto point = point_of(rows, p);
      point["erased"] = erased[p];
      if (!alone.empty()) point["alone"] = point_of(alone, p);
      document_["curve"].push_back(std::move(point));
    }
  }

  // {base, joint, difference, ...} of open answers a concept and subset, and of instructions; and
  // the joint model's figures with the verdicts in them.
  void add_judgement(const StoreReader& store) {
    const auto columns = store.read_strings("figures");
    const auto named = [&](std::span<const double> row) { return figures(columns, row); };
    const auto open_rows = store.read<double>("open/scores");
    const auto rated = store.read<double>("instructions/scores");
    const auto width = columns.size();
    for (std::int64_t c = 0; c < count_; ++c) {
      const auto rows = std::span(open_rows).subspan(2 * width * static_cast<std::size_t>(c));
      of(c)["judged"] = {{"own", named(rows.first(width))},
                         {"similar", named(rows.subspan(width, width))}};
    }
    document_["judged"] = {{"related", named(std::span(rated).first(width))},
                           {"fluent", named(std::span(rated).subspan(width, width))},
                           {"asked", store.number_attribute("/", "asked")},
                           {"missing", store.number_attribute("/", "missing")}};
    const auto names = store.read_strings("joint/figures");
    const auto scores = store.read<double>("joint/scores");
    for (std::int64_t c = 0; c < count_; ++c)
      of(c)["by_judge"] = figures(names, std::span(scores).subspan(c * names.size(), names.size()));
    document_["mean"]["by_judge"] = figures(names, store.read<double>("joint/mean"));
  }

  // What both models answered, but for what is hidden.
  void add_examples() {
    const auto base = open("baseline.h5", "baseline", schemas::evaluation);
    const auto evaluation = open("evaluation.h5", "evaluation", schemas::evaluation);
    if (options_.examples == 0 || !base || !evaluation || !tokenizer_) return;
    const Examples examples({corpus_, *base, *evaluation, *tokenizer_}, options_.examples);
    const bool all = options_.redact == "all", none = options_.redact == "none";
    for (std::int64_t c = 0; c < count_; ++c) {
      const bool is_sensitive =
          !sensitive_ || sensitive_->contains(of(c)["name"].get<std::string>());
      of(c)["hidden"] = all || (!none && is_sensitive);
      of(c)["examples"] = examples.of_concept(c, of(c)["hidden"]);
    }
    document_["instructions"] = examples.of_instructions(all);
  }

  std::filesystem::path directory_;
  const Options& options_;
  const Sensitive& sensitive_;
  StoreReader corpus_;
  std::int64_t count_;
  std::optional<model::Tokenizer> tokenizer_;
  json document_ = json::object();
};

}  // namespace

json gather(const std::filesystem::path& run_directory, const Options& options,
            const Sensitive& sensitive) {
  return Gatherer(run_directory, options, sensitive).gather();
}

}  // namespace quench::report
