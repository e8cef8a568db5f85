#include "stages/dictionary/concept_batch.hpp"

#include <algorithm>
#include <list>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "cluster/log.hpp"
#include "cluster/partition.hpp"
#include "stages/dictionary/cost_model.hpp"
#include "stages/dictionary/device_factorise.hpp"
#include "stages/dictionary/device_place.hpp"
#include "stages/dictionary/fit_record.hpp"

namespace quench::dictionary {

namespace {

// Collective. Concepts of the largest kind that the least device of all ranks has memory for.
std::int64_t fitting(const Inputs& inputs, const Options& options, cluster::Context& context,
                     std::span<const cluster::Task> tasks) {
  constexpr double share = 0.7;  // the rest: libraries' work spaces, fragments
  const auto largest = std::ranges::max_element(tasks, {}, &cluster::Task::cost);
  const auto rows = largest == tasks.end() ? 1 : static_cast<std::int64_t>(largest->cost);
  const auto memory =
      cluster::all_reduce_value(context.world(), context.session.device().memory, cluster::Op::min);
  const FitShape shape{rows, inputs.width, options.rank, kept_per_feature(rows, options.density)};
  const double each = predict(shape, Form::batched).resident_bytes;
  return std::max<std::int64_t>(
      1, static_cast<std::int64_t>(share * static_cast<double>(memory) / each));
}

}  // namespace

Shard make_shard(const Inputs& inputs, std::span<const std::int32_t> tokens,
                 const cluster::Communicator& group) {
  const auto width = inputs.width;
  const auto vocab = static_cast<std::int64_t>(inputs.embedding.size()) / width;
  const auto share = cluster::rows_of(std::ssize(tokens), group.size(), group.rank());
  const auto own = tokens.subspan(share.begin, share.size());
  for (const auto token : own)
    if (token < 0 || token >= vocab)
      throw DataError("token " + std::to_string(token) + " is outside of the embedding of " +
                      std::to_string(vocab) +
                      " rows; tokenizer and weights are of different models");
  const auto row = [&](std::size_t i) {
    return inputs.embedding.subspan(static_cast<std::size_t>(own[i] * width), width);
  };
  return {Rows(row, own, width, inputs.scale), share.begin, std::ssize(tokens)};
}

std::int64_t batch_size(const Inputs& inputs, const Options& options, cluster::Context& context,
                        std::span<const cluster::Task> tasks) {
  constexpr std::int64_t usual_on_gpu = 16;
  const bool gpu = context.session.device().is_cuda();
  if (context.session.group().size() > 1) return 0;
  if (!gpu) return options.batch > 1 ? options.batch : 0;
  return std::min(options.batch > 0 ? options.batch : usual_on_gpu,
                  fitting(inputs, options, context, tasks));
}

// The jobs of concepts, and what they refer to.
struct ConceptBatch::Jobs {
  std::vector<std::int64_t> concepts;
  std::vector<std::vector<std::int32_t>> tokens;
  std::list<Shard> shards;
  std::list<FitState> states;
  std::vector<DeviceJob> jobs;
};

void ConceptBatch::add(std::int64_t c, Jobs& to) const {
  const auto self = cluster::make_self_communicator();
  auto tokens = inputs_.tokens(c);
  if (tokens.empty()) return;
  auto state = load_state(checkpoint_(c));
  if (state && state->ridge_raises > 0) return;  // the host's: its ridge is not the others'
  auto& shard = to.shards.emplace_back(make_shard(inputs_, tokens, *self));
  DeviceJob job{shard.rows, {}};
  if (state) {
    cluster::log_info("dictionary: a factorisation goes on after iteration " +
                      std::to_string(state->objective.size()));
    job.resume = &to.states.emplace_back(std::move(*state));
  } else {
    job.initial =
        initial_rows(shard, tokens, options_, inputs_.concept_hash(c), initial_file_, *self);
  }
  to.jobs.push_back(std::move(job));
  to.concepts.push_back(c);
  to.tokens.push_back(std::move(tokens));  // which moves no number that initial_rows() refers to
}

void ConceptBatch::factorise(std::span<const std::int64_t> concepts) {
  fits_.clear();
  Jobs batch;
  for (const auto c : concepts) {
    try {
      add(c, batch);
    } catch (const DataError&) {
      // Will be thrown again where the failure of that concept is recorded.
    }
  }
  BatchHooks hooks;
  hooks.stop = [&] { return context_.stop.requested(); };
  hooks.save = [&](std::int64_t job, const FitState& now) {
    save_state(checkpoint_(batch.concepts[job]), now);
  };
  try {
    auto fits = factorise_batch(batch.jobs, options_, device_of(context_.session), hooks);
    for (std::size_t i = 0; i < fits.size(); ++i) {
      if (!fits[i]) continue;
      fits[i]->factors.tokens = std::move(batch.tokens[i]);
      fits_.emplace(batch.concepts[i], std::move(*fits[i]));
    }
  } catch (const DataError&) {
    // As above: without a batch each concept's failure is its own.
  } catch (const Stopped&) {
    stopped_ = true;
  } catch (const c10::OutOfMemoryError&) {
    cluster::log_warning("dictionary: the device has too little memory for " +
                         std::to_string(batch.jobs.size()) +
                         " factorisations; they are done on the CPU. Lower dictionary.batch");
  } catch (const c10::Error& error) {
    throw ClusterError(std::string("dictionary: the device failed: ") +
                       error.what_without_backtrace());
  }
}

std::optional<Fit> ConceptBatch::take(std::int64_t concept_index) {
  if (stopped_) throw Stopped("dictionary: stopped in a batch of factorisations");
  const auto found = fits_.extract(concept_index);
  if (found.empty()) return {};
  return std::move(found.mapped());
}

}  // namespace quench::dictionary
