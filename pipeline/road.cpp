#include "pipeline/road.hpp"

#include <algorithm>
#include <numeric>

#include "cluster/collectives.hpp"
#include "cluster/heap.hpp"
#include "cluster/log.hpp"
#include "cluster/store.hpp"
#include "model/export.hpp"
#include "pipeline/embedding_rows.hpp"
#include "pipeline/feature_judge.hpp"
#include "pipeline/judge.hpp"
#include "pipeline/saved_run.hpp"
#include "stages/evaluation/judge.hpp"
#include "stages/selection/general.hpp"

namespace quench::pipeline {

namespace {

// What stands before the model's answer in its chat template (methods 7.1); empty: plain prompts.
std::string cut_mark(const ModelDirectory& model, const corpus::Options& options) {
  if (options.prompt_style == "plain" || !model.chat) return "";
  const auto family = model.chat->family();
  return family == "gemma" ? "model\n" : family == "llama3" ? "assistant\n\n" : "assistant\n";
}

}  // namespace

Road::Road(const Configuration& configuration, cluster::Context& context, const RunInputs& inputs,
           const RunDirectory& directory)
    : configuration_(configuration),
      context_(context),
      inputs_(inputs),
      directory_(directory),
      hashes_(stage_hashes(configuration, inputs.identity)) {}

template <typename Run>
void Road::stage(const std::string& name, const std::string& file, std::int64_t schema,
                 const std::string& hash, const Run& run) {
  const cluster::StoreHeader header{name, schema, directory_.run_id(), hash};
  bool current = false;
  cluster::agree(context_.world(), [&] {
    if (context_.is_root()) current = cluster::store_is_current(path(file), header);
  });
  if (cluster::any_of(context_.world(), current)) {
    if (context_.is_root()) cluster::log_info(name + ": kept, " + file + " is complete");
  } else {
    const auto timer = context_.timers.scope("stage/" + name);
    if (context_.is_root()) cluster::log_info(name + ": begins");
    run();
    cluster::return_freed_memory();
  }
  const cluster::StoreReader reader(path(file), name, schema);
  failures_ += static_cast<std::int64_t>(reader.number_attribute("/", "failures"));
}

void Road::travel() {
  make_corpus();
  load_model();
  make_dictionary();
  factorise_activations();
  make_selection();
  measure_baseline();
  erase();
  evaluate();
  relearn();
  export_erased();
  judge();
}

void Road::make_corpus() {
  stage("corpus", "corpus.h5", corpus::schema, hashes_.corpus, [&] {
    corpus::run({.catalog = configuration_.run.catalog,
                 .concepts = inputs_.concepts,
                 .shared = &inputs_.shared,
                 .tokenizer = &inputs_.model.tokenizer,
                 .chat = inputs_.model.chat,
                 .inputs_hash = hashes_.corpus,
                 .run_id = directory_.run_id()},
                configuration_.corpus, context_);
  });
  corpus_.emplace(path("corpus.h5"));
}

void Road::load_model() {
  const auto timer = context_.timers.scope("load/weights");
  weights_ =
      model::load_weights(context_.session.node(), inputs_.model.config, inputs_.model.checkpoint);
  model_.emplace(LoadedModel{inputs_.model.config, weights_.weights,
                             model::Transformer(inputs_.model.config, weights_.weights)});
}

void Road::make_dictionary() {
  const auto& embedding = model_->weights.embedding;
  const auto neutral = corpus_->neutral_frequencies().ids;
  stage("dictionary", "dictionary.h5", dictionary::schema, hashes_.dictionary, [&] {
    dictionary::Inputs in;
    in.concepts = corpus_->concepts();
    in.tokens = [&](std::int64_t c) {
      const auto own = corpus_->frequencies(c).ids;
      std::vector<std::int32_t> both;
      std::set_union(own.begin(), own.end(), neutral.begin(), neutral.end(),
                     std::back_inserter(both));
      return both;
    };
    in.concept_hash = concept_hash();
    in.shared_tokens = neutral;
    in.is_special = [&](std::int32_t id) { return inputs_.model.tokenizer.is_special(id); };
    in.embedding = {embedding.const_data_ptr<float>(), static_cast<std::size_t>(embedding.numel())};
    in.width = embedding.size(1);
    in.scale = model_->config.embedding_scale;
    in.embedding_hash = hashes_.model;
    const auto& known = inputs_.identity.inputs;
    if (const auto file = known.find("dictionary/initial"); file != known.end())
      in.initial_hash = file->second;
    in.inputs_hash = hashes_.dictionary;
    in.name = [&](std::int64_t c) { return corpus_->name(c); };
    in.run_id = directory_.run_id();
    dictionary::run(in, configuration_.dictionary, context_);
  });
  dictionaries_.emplace(path("dictionary.h5"));
}

void Road::factorise_activations() {
  if (configuration_.activations.layers.empty()) {
    // Features of an earlier configuration are not this run's.
    if (context_.is_root()) std::filesystem::remove(path("activations.h5"));
    return;
  }
  stage("activations", "activations.h5", activations::schema, hashes_.activations, [&] {
    activations::Inputs in;
    in.concepts = corpus_->concepts();
    in.sentences = [&](std::int64_t c) { return corpus_->sentences(c); };
    in.concept_hash = concept_hash();
    in.neutral = corpus_->neutral_sentences();
    in.prefix = inputs_.model.tokenizer.special_prefix();
    in.model = &model_->base;
    in.model_hash = hashes_.model;
    in.inputs_hash = hashes_.activations;
    in.name = [&](std::int64_t c) { return corpus_->name(c); };
    in.run_id = directory_.run_id();
    activations::run(in, configuration_.activations, context_);
  });
}

selection::Inputs Road::selection_inputs() const {
  selection::Inputs in;
  in.concepts = corpus_->concepts();
  in.vocab = model_->config.vocab;
  in.frequencies = [&](std::int64_t c) { return corpus_->frequencies(c); };
  in.neutral = corpus_->neutral_frequencies();
  in.names = [&](std::int64_t c) {
    auto names = corpus_->aliases(c);
    names.insert(names.begin(), corpus_->name(c));
    return names;
  };
  in.concept_hash = concept_hash();
  in.factors = [&](std::int64_t c) { return dictionaries_->factors(c); };
  add_token_texts(inputs_.model.tokenizer, in);
  in.general = [&](std::int64_t sentences) {
    return selection::general_frequencies(
        selection::read_frequencies(configuration_.selection.frequencies),
        [&](const std::string& text) { return inputs_.model.tokenizer.encode(text); }, sentences);
  };
  in.neighbours = [&](std::span<const std::int32_t> tokens, double cosine) {
    return neighbours_of(model_->weights.embedding, tokens, cosine);
  };
  in.manual = [&](std::int64_t c) { return inputs_.manual.at(c); };
  in.judged = [&](std::int64_t c) { return judged_.at(c); };
  return in;
}

void Road::ask_judge() {
  if (configuration_.selection.method != "judge") return;
  const auto timer = context_.timers.scope("stage/judge");
  Judge judge(configuration_, context_, inputs_, model_->base);
  judged_ = judge_features(judge, selection_inputs(), configuration_.selection, context_);
  // What the answers say decides the selection, and all that follows.
  auto identity = inputs_.identity;
  identity.inputs["selection/answers"] = judge.answers_hash();
  hashes_ = stage_hashes(configuration_, identity);
}

void Road::make_selection() {
  ask_judge();
  stage("selection", "selection.h5", selection::schema, hashes_.selection, [&] {
    auto in = selection_inputs();
    in.inputs_hash = hashes_.selection;
    in.run_id = directory_.run_id();
    selection::run(in, configuration_.selection, context_);
  });
  selection_.emplace(path("selection.h5"));
}

evaluation::ProbeSource Road::probe_source() const {
  return {.concepts = corpus_->concepts(),
          .of_concept = [this](std::int64_t c) { return corpus_->probes(c); },
          .shared = [this] { return corpus_->shared_probes(); },
          .offsets = corpus_->probe_offsets(),
          .name = [this](std::int64_t c) { return corpus_->name(c); },
          .hash = concept_hash()};
}

void Road::measure_baseline() {
  meter_.emplace(model_->base, inputs_.model.tokenizer,
                 evaluation::measure_options(configuration_.evaluation,
                                             cut_mark(inputs_.model, configuration_.corpus)),
                 &context_.timers);
  stage("baseline", "baseline.h5", evaluation::schema, hashes_.baseline, [&] {
    evaluation::run_baseline({.probes = probe_source(),
                              .meter = &*meter_,
                              .base = &model_->base,
                              .model_hash = hashes_.model,
                              .inputs_hash = hashes_.baseline,
                              .run_id = directory_.run_id(),
                              .cache = configuration_.run.baseline_cache},
                             context_);
  });
  baseline_.emplace(path("baseline.h5"), "baseline", "measurements");
  knowledge_ = evaluation::read_knowledge(path("baseline.h5"));
  scorer_.emplace(*corpus_, *baseline_, *meter_, *model_, configuration_.evaluation,
                  configuration_.erasure.min_general);
}

erasure::Refit Road::refit(std::int64_t concept_index) const {
  const auto& embedding = model_->weights.embedding;
  const cluster::StoreReader dictionary(path("dictionary.h5"), "dictionary", dictionary::schema);
  const auto ridge = dictionary.read<double>("dictionaries/ridge");
  const bool joint = dictionary.number_attribute("/", "joint") != 0;
  return {.selected = configuration_.selection.refit,
          .ridge = ridge.at(joint ? 0 : concept_index),
          .row = [&embedding](std::int32_t token) {
            const auto width = static_cast<std::size_t>(embedding.size(1));
            return std::span(embedding.const_data_ptr<float>() + token * width, width);
          }};
}

void Road::erase() {
  stage("erasure", "edits.h5", erasure::schema, hashes_.erasure, [&] {
    erasure::Inputs in;
    in.concepts = corpus_->concepts();
    in.concept_hash = concept_hash();
    in.factors = [&](std::int64_t c) { return dictionaries_->factors(c); };
    in.selected = [&](std::int64_t c) { return selection_->selected(c); };
    in.group = [&](std::int64_t c) { return selection_->group(c); };
    in.refit = [&](std::int64_t c) { return refit(c); };
    for (const auto& knowledge : knowledge_) in.known.push_back(knowledge.known);
    in.scale = model_->config.embedding_scale;
    in.score_alone = [&](auto& group, std::int64_t c, const auto& edit, double strength) {
      return scorer_->alone(group, c, edit, strength);
    };
    in.score_joint = [&](auto& group, std::int64_t c, const auto& edit, double factor, auto times) {
      return scorer_->joint(group, c, edit, factor, times);
    };
    in.inputs_hash = hashes_.erasure;
    in.run_id = directory_.run_id();
    erasure::run(in, configuration_.erasure, context_);
  });
  edits_.emplace(path("edits.h5"));
}

model::Transformer Road::joint_model(const erasure::Edits& edits) const {
  std::vector<std::int64_t> all(edits.concepts());
  std::iota(all.begin(), all.end(), 0);
  return model_->edited(edits.joint(all), 1);
}

void Road::evaluate() {
  stage("evaluation", "evaluation.h5", evaluation::schema, hashes_.evaluation, [&] {
    const auto joint = joint_model(*edits_);
    evaluation::Inputs in;
    in.probes = probe_source();
    in.meter = &*meter_;
    in.base = &model_->base;
    in.baseline = &*baseline_;
    in.alone = [&](std::int64_t c) { return model_->edited(edits_->edit(c), edits_->strength(c)); };
    in.joint = &joint;
    in.some = [&](std::span<const std::int64_t> concepts) {
      return model_->edited(edits_->joint(concepts), 1);
    };
    in.knowledge = knowledge_;
    for (std::int64_t c = 0; c < corpus_->concepts(); ++c) {
      in.edited.push_back(edits_->strength(c) > 0);
      in.status.push_back(edits_->status(c));
    }
    in.edits_hash = hashes_.erasure;
    in.inputs_hash = hashes_.evaluation;
    in.run_id = directory_.run_id();
    evaluation::run(in, configuration_.evaluation, context_);
  });
}

std::vector<std::int64_t> Road::attacked(const erasure::Edits& edits) const {
  const auto& options = configuration_.relearning;
  Problems problems;
  const auto named =
      corpus_->concept_names().find_all(options.concepts, "relearning.concepts", problems);
  problems.throw_if_any<ConfigError>("the attacks cannot start:");
  std::vector<std::int64_t> list;
  for (const auto c : named) {
    if (options.max_concepts > 0 && std::ssize(list) == options.max_concepts) break;
    if (edits.strength(c) <= 0) continue;
    if (corpus_->paragraph_count(c) > 0)
      list.push_back(c);
    else if (context_.is_root())
      cluster::log_warning("relearning: '" + corpus_->name(c) +
                           "' has no paragraphs to relearn from and is not attacked");
  }
  return list;
}

void Road::relearn() {
  if (!configuration_.relearning.enabled) {
    // Attacks of an earlier configuration say nothing of this run's edits.
    if (context_.is_root()) std::filesystem::remove(path("relearning.h5"));
    return;
  }
  stage("relearning", "relearning.h5", relearning::schema, hashes_.relearning, [&] {
    relearning::Inputs in;
    in.concepts = corpus_->concepts();
    in.attacked = attacked(*edits_);
    in.name = [&](std::int64_t c) { return corpus_->name(c); };
    in.concept_hash = concept_hash();
    in.paragraphs = [&](std::int64_t c) { return corpus_->paragraphs(c); };
    const AttackScorer scorer(*corpus_, *baseline_,
                              evaluation::rules_of(configuration_.evaluation));
    const auto resamples = configuration_.evaluation.resamples;
    in.probes = [&](std::int64_t c) { return scorer.probes(c); };
    const auto alone = cluster::make_self_communicator();
    in.measure = [&](const model::Transformer& model, std::span<const Probe> probes) {
      return meter_->measure(*alone, model, probes, {});
    };
    in.figures = [&](const relearning::SeedsSaid& said) { return scorer.figures(said, resamples); };
    in.mean_figures = [&](cluster::Communicator& world,
                          std::span<const relearning::SeedsSaid> mine) {
      return scorer.mean(world, in.attacked, mine, resamples);
    };
    in.config = &model_->config;
    in.base = model_->weights;
    in.joint = joint_model(*edits_).overlay();
    in.timers = &context_.timers;
    in.model_state_hash = hashes_.erasure;
    in.inputs_hash = hashes_.relearning;
    in.run_id = directory_.run_id();
    relearning::run(in, configuration_.relearning, context_);
  });
}

void Road::export_erased() {
  const auto& to = configuration_.run.export_to;
  if (to == "none") return;
  const auto timer = context_.timers.scope("stage/export");
  const cluster::Watchdog::Pause rank_0_works(context_.session.watchdog());
  cluster::agree(context_.world(), [&] {
    if (!context_.is_root()) return;
    const std::filesystem::path out = to == "auto" ? path("model") : std::filesystem::path(to);
    const nlohmann::json provenance = {{"run_id", directory_.run_id()},
                                       {"edits_hash", hashes_.erasure},
                                       {"joint_factor", edits_->joint_factor()},
                                       {"base_model", inputs_.identity.inputs}};
    model::export_model(inputs_.model.path, inputs_.model.config, inputs_.model.checkpoint,
                        joint_model(*edits_).overlay(), out, provenance.dump(2), true);
    if (edits_->joint_factor() == 0) cluster::log_warning(no_joint_edit);
    cluster::log_info("export: " + out.string());
  });
}

void Road::judge() {
  if (configuration_.evaluation.judge == "none") {
    // Verdicts of an earlier configuration are not this run's.
    if (context_.is_root()) std::filesystem::remove(path("judgement.h5"));
    return;
  }
  const auto timer = context_.timers.scope("stage/judge");
  Judge judge(configuration_, context_, inputs_, model_->base);
  evaluation::JudgeInputs in;
  in.probes = probe_source();
  in.tokenizer = &inputs_.model.tokenizer;
  in.baseline = &*baseline_;
  for (std::int64_t c = 0; c < corpus_->concepts(); ++c)
    in.edited.push_back(edits_->strength(c) > 0);
  in.ask = [&](const auto& round, const auto& questions, std::int64_t max_tokens) {
    return judge.ask(round, questions, max_tokens);
  };
  in.judge = judge.identity();
  in.inputs_hash = hashes_.evaluation;
  in.run_id = directory_.run_id();
  try {
    evaluation::run_judge(in, configuration_.evaluation, context_);
  } catch (const Error& error) {
    // All the rest is done, and worth a report.
    if (error.code() != ExitCode::waiting || !error.agreed()) throw;
    waits_for_ = error.what();
  }
}

}  // namespace quench::pipeline
