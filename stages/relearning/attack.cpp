#include <c10/core/GradMode.h>

#include <limits>

#include "cluster/collectives.hpp"
#include "cluster/random.hpp"
#include "stages/relearning/adamw.hpp"
#include "stages/relearning/relearning.hpp"
#include "stages/relearning/trainee.hpp"

namespace quench::relearning {

namespace {

// The paragraphs of an attack, cut to length; rows without a target are left out.
TokenRows training_text(const Inputs& inputs, std::int64_t concept_index, const Options& options) {
  TokenRows text;
  for (auto& row : inputs.paragraphs(concept_index)) {
    if (std::ssize(text) == options.paragraphs) break;
    if (std::ssize(row) > options.max_length) row.resize(options.max_length);
    if (row.size() >= 2) text.push_back(std::move(row));
  }
  if (text.empty()) throw DataError("the concept has no paragraph to relearn from");
  return text;
}

// Which paragraph comes when: a fresh keyed permutation each time all have been used.
class Order {
 public:
  Order(std::int64_t rows, std::uint64_t seed, std::string purpose)
      : rows_(rows), seed_(seed), purpose_(std::move(purpose)) {}

  std::int64_t at(std::int64_t place) {
    if (place / rows_ != epoch_) {
      epoch_ = place / rows_;
      order_ = cluster::KeyedRandom(seed_, purpose_ + "/epoch" + std::to_string(epoch_))
                   .permutation(rows_);
    }
    return order_[place % rows_];
  }

 private:
  std::int64_t rows_, epoch_ = -1;
  std::uint64_t seed_;
  std::string purpose_;
  std::vector<std::int64_t> order_;
};

// Sums each parameter's gradient over the group. Collective.
void all_reduce_gradients(cluster::Communicator& group, const std::vector<at::Tensor>& parameters) {
  if (group.size() == 1) return;
  for (const auto& parameter : parameters) {
    auto gradient =
        parameter.grad().defined() ? parameter.grad().contiguous() : at::zeros_like(parameter);
    cluster::all_reduce_sum(group, std::span<float>(gradient.mutable_data_ptr<float>(),
                                                    static_cast<std::size_t>(gradient.numel())));
    parameter.mutable_grad() = gradient;
  }
}

// One optimizer step on rows first, first + 1, ... of the order; returns the mean loss a target.
class Trainer {
 public:
  Trainer(cluster::Communicator& group, const Inputs& inputs, const TokenRows& text, bool erased,
          const Options& options)
      : group_(group),
        options_(options),
        text_(text),
        trainee_(*inputs.config, inputs.base, erased ? inputs.joint : model::RowOverlay{}, text),
        optimizer_(trainee_.parameters(),
                   {.learning_rate = options.learning_rate, .weight_decay = options.weight_decay}),
        pad_id_(inputs.config->stop_ids.empty() ? 0 : inputs.config->stop_ids.front()) {}

  double step(Order& order, std::int64_t number) {
    std::vector<std::int64_t> rows;
    std::int64_t targets = 0;
    for (std::int64_t j = 0; j < options_.batch; ++j) {
      rows.push_back(order.at(number * options_.batch + j));
      targets += std::ssize(text_[rows.back()]) - (pads_of(rows.back()) > 0 ? 0 : 1);
    }
    double loss = 0;
    for (std::int64_t j = group_.rank(); j < std::ssize(rows); j += group_.size()) {
      const auto share = row_loss(trainee_.model(), text_[rows[j]], pads_of(rows[j]), pad_id_) /
                         static_cast<double>(targets);
      share.backward();
      loss += share.item<double>();
    }
    all_reduce_gradients(group_, optimizer_.parameters());
    optimizer_.step();
    return cluster::all_reduce_value(group_, loss, cluster::Op::sum);
  }

  model::Transformer model() const { return trainee_.model(); }

 private:
  std::int64_t pads_of(std::int64_t row) const {
    return options_.pad_in_loss ? options_.max_length - std::ssize(text_[row]) : 0;
  }

  cluster::Communicator& group_;
  const Options& options_;
  const TokenRows& text_;
  Trainee trainee_;
  AdamW optimizer_;
  std::int32_t pad_id_;
};

Point measured_point(const Inputs& inputs, const Trainer& trainer, std::span<const Probe> probes,
                     std::int64_t step, double loss) {
  const c10::NoGradGuard no_grad;
  return {step, loss, inputs.measure(trainer.model(), probes)};
}

// True after the steps at which the curve has a point: evenly spaced, the last step among them.
bool is_point(std::int64_t done, const Options& options) {
  const auto points = std::min(options.points, options.steps);
  return done * points / options.steps != (done - 1) * points / options.steps;
}

}  // namespace

std::vector<std::int64_t> point_steps(const Options& options) {
  std::vector<std::int64_t> steps = {0};
  for (std::int64_t done = 1; done <= options.steps; ++done)
    if (is_point(done, options)) steps.push_back(done);
  return steps;
}

std::vector<Point> attack(cluster::Communicator& group, const Inputs& inputs,
                          std::int64_t concept_index, bool erased, std::int64_t seed,
                          const Options& options, const cluster::StopFlag& stop) {
  const auto text = training_text(inputs, concept_index, options);
  const auto probes = inputs.probes(concept_index);
  Trainer trainer(group, inputs, text, erased, options);
  Order order(std::ssize(text), static_cast<std::uint64_t>(seed),
              "relearning/" + inputs.concept_hash(concept_index));
  std::vector<Point> curve = {
      measured_point(inputs, trainer, probes, 0, std::numeric_limits<double>::quiet_NaN())};
  double loss = 0;
  std::int64_t since = 0;
  for (std::int64_t step = 0; step < options.steps; ++step) {
    if (cluster::any_of(group, stop.requested())) throw Stopped("relearning: stopped in an attack");
    {
      const cluster::Timers::Scope timer(inputs.timers, "kernel/train_step");
      loss += trainer.step(order, step);
    }
    ++since;
    if (!is_point(step + 1, options)) continue;
    curve.push_back(
        measured_point(inputs, trainer, probes, step + 1, loss / static_cast<double>(since)));
    loss = 0;
    since = 0;
  }
  return curve;
}

}  // namespace quench::relearning
