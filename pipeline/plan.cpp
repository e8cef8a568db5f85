// plan: what a run will need, from configuration, catalog and model directory alone. Starts no MPI,
// reads no weights.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cluster/communicator.hpp"
#include "cluster/progress.hpp"
#include "pipeline/command_line.hpp"
#include "pipeline/configuration.hpp"
#include "pipeline/inputs.hpp"
#include "pipeline/needs.hpp"
#include "pipeline/run_commands.hpp"
#include "stages/corpus/catalog.hpp"
#include "stages/dictionary/cost_model.hpp"
#include "stages/dictionary/factorise.hpp"

namespace quench::pipeline {

namespace po = boost::program_options;
using nlohmann::json;

namespace {

// Rough sizes of texts in tokens, for estimates: a question with its four answers, an instruction's
// or open answer's prompt, a paragraph.
constexpr double question_tokens = 36, prompt_tokens = 24, paragraph_tokens = 100;

struct Work {
  std::int64_t concepts = 0, questions = 0, cells = 0, attacks = 0;
  double forward_tokens = 0;   // scored or generated
  double training_tokens = 0;  // forward and backward
};

// Paragraphs that each attacked concept is trained on, a concept an element.
std::vector<std::int64_t> attacked(const Configuration& c,
                                   const std::vector<corpus::ConceptEntry>& concepts) {
  const auto& r = c.relearning;
  std::vector<std::int64_t> paragraphs;
  if (!r.enabled) return paragraphs;
  Problems told;  // when the inputs were read
  for (const auto i :
       corpus::names_of(concepts, "the run").find_all(r.concepts, "relearning.concepts", told)) {
    const auto& entry = concepts[static_cast<std::size_t>(i)];
    if (r.max_concepts > 0 && std::ssize(paragraphs) == r.max_concepts) break;
    if (entry.paragraphs == 0) continue;
    const auto held_out =
        corpus::held_out_paragraphs(entry.paragraphs, c.corpus.held_out_paragraphs);
    paragraphs.push_back(std::min(entry.paragraphs - held_out, r.paragraphs));
  }
  return paragraphs;
}

void add_attacks(const Configuration& c, const std::vector<corpus::ConceptEntry>& concepts,
                 Work& work) {
  const auto& r = c.relearning;
  const auto attacks = r.seeds * (r.control ? 2 : 1);
  std::int64_t steps = 0;
  for (const auto paragraphs : attacked(c, concepts)) {
    work.attacks += attacks;
    steps += attacks * relearning::steps_of(r, paragraphs);
  }
  work.training_tokens = static_cast<double>(steps * r.batch) *
                         std::min(paragraph_tokens, static_cast<double>(r.max_length));
}

Work work_of(const Configuration& c, const std::vector<corpus::ConceptEntry>& concepts,
             const corpus::SharedText& shared) {
  Work work;
  work.concepts = std::ssize(concepts);
  double paragraphs = 0;
  for (const auto& entry : concepts) {
    work.questions += entry.questions;
    paragraphs += static_cast<double>(entry.paragraphs);
  }
  work.cells = work.concepts * erasure::most_cells(c.erasure);
  add_attacks(c, concepts, work);
  const double own = static_cast<double>(work.questions) * question_tokens;
  const double answers =
      static_cast<double>(std::ssize(shared.instructions)) *
      (prompt_tokens + 2.0 * static_cast<double>(c.evaluation.instruction_tokens));
  const double common = static_cast<double>(std::ssize(shared.general)) * question_tokens + answers;
  const double text = paragraphs * paragraph_tokens +
                      static_cast<double>(std::ssize(shared.neutral)) * prompt_tokens;
  const double open = c.corpus.open
                          ? static_cast<double>(work.questions) / 2 *
                                (prompt_tokens + static_cast<double>(c.evaluation.open_tokens))
                          : 0;
  const double letters = c.corpus.letter ? own : 0;
  const double once = own + common + text + open + letters;
  // A split's questions in the form that decides.
  const double half = c.evaluation.form == "open" ? open : own / 2;
  // Baseline and the joint model; each concept alone: its own test probes, and the shared ones
  // anew.
  const auto n = static_cast<double>(work.concepts);
  work.forward_tokens = 2 * once;
  if (c.evaluation.alone) work.forward_tokens += (once - common + n * common) / 2;
  // The train half in each cell, as many as the search may take, and in each step of the joint
  // edit's back-off; the test half in each point of the curve, whose concepts add up to twice n.
  const auto cells = static_cast<double>(erasure::most_cells(c.erasure));
  const auto factors = static_cast<double>(std::ssize(c.erasure.back_off));
  work.forward_tokens += cells * (half + n * common / 2) + factors * (half + common / 2);
  if (c.evaluation.curve)
    work.forward_tokens += 2 * half + std::log2(std::max(2.0, n)) * common / 2;
  const double points = static_cast<double>(c.relearning.points + 1);
  const double questions_each = work.concepts == 0 ? 0 : half / static_cast<double>(work.concepts);
  work.forward_tokens += static_cast<double>(work.attacks) * points * questions_each;
  return work;
}

double parameters_of(const model::Checkpoint& checkpoint) {
  double count = 0;
  for (const auto& [name, entry] : checkpoint.entries())
    count += static_cast<double>(entry.count());
  return count;
}

bool on_gpus(const Configuration& c) { return c.run.device == "cuda"; }

dictionary::Machine machine_of(const Configuration& c) {
  return on_gpus(c) ? dictionary::Machine::gpu() : dictionary::Machine{};
}

// As the solver chooses it.
dictionary::Form form_on_machine(const Configuration& c, const dictionary::FitShape& shape) {
  if (!on_gpus(c)) return dictionary::choose_form(shape, dictionary::form_of(c.dictionary));
  const bool shared = shape.ranks > 1 || c.dictionary.scope != "concept";
  return shared ? dictionary::Form::device : dictionary::Form::batched;
}

// The factorisations, by the cost model that the solver chooses with.
json dictionary_plan(const Configuration& c, const model::ModelConfig& config, std::int64_t tokens,
                     std::int64_t concepts, double gflops, int ranks) {
  const auto shape = fit_shape(c, config, tokens, ranks);
  auto machine = machine_of(c);
  machine.product_rate = gflops * 1e9;
  const auto form = form_on_machine(c, shape);
  const auto cost = dictionary::predict(shape, form, machine);
  const double fits = c.dictionary.scope == "concept" ? static_cast<double>(concepts) : 1;
  return {{"scope", c.dictionary.scope},
          {"factorisations", fits},
          {"rows", tokens},
          {"form", dictionary::name_of(form)},
          {"ranks_a_factorisation", shape.ranks},
          {"flops_an_iteration", cost.flops},
          {"bytes_an_iteration", cost.bytes},
          {"bytes_sent_an_iteration", cost.bytes_sent},
          {"bytes_a_rank", cost.resident_bytes},
          {"seconds_an_iteration", cost.seconds},
          {"rank_hours", fits * shape.ranks * cost.fit_seconds(shape.iterations) / 3600}};
}

json plan_of(const Configuration& c, double gflops, int ranks) {
  const auto inputs = read_inputs(*cluster::make_self_communicator(), c);
  const auto& [model, concepts, shared, manual, judge, identity] = inputs;
  const auto activations = activation_needs(c, model.config, concepts, shared);
  auto work = work_of(c, concepts, shared);
  work.forward_tokens += activations.forward_tokens;
  const auto tokens = count_tokens(c.run.catalog, model.tokenizer, concepts, shared);
  const auto memory = memory_needs(c, model.config, judge ? &judge->config : nullptr, ranks,
                                   concepts, shared, tokens);
  // A multiplication and an addition a parameter and token; backward costs twice the forward.
  const double flops =
      2 * parameters_of(model.checkpoint) * (work.forward_tokens + 3 * work.training_tokens) +
      activations.flops;
  const auto dictionary = dictionary_plan(c, model.config, mean_rows(c, model.config.vocab, tokens),
                                          work.concepts, gflops, ranks);
  return {
      {"concepts", work.concepts},
      {"questions", work.questions},
      {"activation_fits", activations.fits},
      {"cells", work.cells},
      {"attacks", work.attacks},
      {"forward_tokens", work.forward_tokens},
      {"training_tokens", work.training_tokens},
      {"bytes_a_node_shared", memory.weights},
      {"bytes_a_rank", memory.total(1) - memory.weights},
      {"bytes_available_here", model::available_memory()},
      {"dictionary", dictionary},
      {"rank_hours", flops / (gflops * 1e9) / 3600 + dictionary.at("rank_hours").get<double>()},
      {"assumed_gflops_a_rank", gflops},
      {"suggested_ranks", std::max<std::int64_t>(1, std::min(work.concepts, std::int64_t(64)))}};
}

std::string dictionary_line(const json& d) {
  const auto bytes = [&](const char* key) {
    return model::format_bytes(static_cast<std::int64_t>(d.at(key).get<double>()));
  };
  const auto form = d.at("form").get<std::string>();
  const bool gpu = form == "batched" || form == "device";
  char flops[32];
  std::snprintf(flops, sizeof flops, "%.3g", d.at("flops_an_iteration").get<double>());
  return std::to_string(std::llround(d.at("factorisations").get<double>())) + " of about " +
         std::to_string(d.at("rows").get<std::int64_t>()) + " tokens, " + form +
         " form; an iteration of one rank: " + flops + " flops, " + bytes("bytes_an_iteration") +
         " moved, " + bytes("bytes_sent_an_iteration") + " sent; " + bytes("bytes_a_rank") +
         (gpu ? " on its GPU; in all " : " a rank; in all ") +
         cluster::format_duration(d.at("rank_hours").get<double>() * 3600) + " of one rank";
}

void print(const json& plan) {
  const auto count = [&](const char* key) { return plan.at(key).get<std::int64_t>(); };
  std::cout << "concepts         " << count("concepts") << "  (" << count("questions")
            << " questions)\n"
            << "activation fits  " << count("activation_fits") << "\n"
            << "cells, at most   " << count("cells") << "\n"
            << "attacks          " << count("attacks") << "\n"
            << "memory           " << model::format_bytes(count("bytes_a_node_shared"))
            << " a node, shared, and " << model::format_bytes(count("bytes_a_rank"))
            << " a rank; here " << model::format_bytes(count("bytes_available_here"))
            << " are available\n"
            << "dictionary       " << dictionary_line(plan.at("dictionary")) << "\n"
            << "time, predicted  "
            << cluster::format_duration(plan.at("rank_hours").get<double>() * 3600)
            << " of one rank at " << plan.at("assumed_gflops_a_rank").get<double>()
            << " GFLOP/s, before exact reuse\n"
            << "ranks            up to " << count("suggested_ranks")
            << " have work of their own all the time\n";
}

}  // namespace

ExitCode plan_command(const Words& words) {
  CommandLine line{
      "quench plan -c FILE [--set key=value ...]",
      "What a run will need: tasks, memory, predicted time. Checks configuration, catalog and\n"
      "model directory as a run does. Runs on a login node: no MPI, no GPU, no weights read.",
      {},
      {}};
  add_configuration_options(line.options);
  line.options.add_options()("json", "as JSON")(
      "gflops", po::value<double>(),
      "float32 rate of one rank, GFLOP/s; left out: of a core, or with run.device = cuda of a GPU")(
      "ranks", po::value<int>()->default_value(1), "ranks that share a joint dictionary");
  const auto values = line.parse(words);
  if (!values) return ExitCode::done;
  Configuration configuration;
  read_configuration(configuration, *values);
  const auto gflops = values->contains("gflops") ? (*values)["gflops"].as<double>()
                                                 : machine_of(configuration).product_rate / 1e9;
  const auto ranks = (*values)["ranks"].as<int>();
  Problems problems;
  if (!(gflops > 0) || !std::isfinite(gflops))
    problems.add("--gflops", "a rate above 0 is expected");
  if (ranks < 1) problems.add("--ranks", "1 or more are expected");
  problems.throw_if_any<ConfigError>("quench plan:");
  const auto plan = plan_of(configuration, gflops, ranks);
  if (values->contains("json")) {
    std::cout << plan.dump(2) << "\n";
  } else {
    print(plan);
  }
  return ExitCode::done;
}

}  // namespace quench::pipeline
