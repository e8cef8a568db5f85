#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <vector>

#include "cluster/communicator.hpp"
#include "cluster/error.hpp"
#include "stages/dictionary/cost_model.hpp"
#include "stages/dictionary/factorise.hpp"
#include "stages/factorisation/ridge_system.hpp"
#include "stages/factorisation/stop_rule.hpp"

// The alternation of methods 3.1: how F and G follow from each other.
namespace quench::dictionary {

// How G_0 is multiplied. float32 but where G^T G may be as good as singular, which blows up what a
// rounded product loses of numbers that cancel: more features than half the tokens, or a G_0 of the
// user's own.
inline at::ScalarType start_type(const Options& options, std::int64_t rows) {
  return 2 * options.rank > rows || options.init == "file" ? at::kDouble : at::kFloat;
}

// What a rank asks for before an iteration.
struct Request {
  bool stop = false;
  bool save = false;
};

// F and G of one iteration.
struct Solution {
  // F^T, [K, d] float64, and G of this rank's rows; made when they are asked for. Local.
  std::function<at::Tensor()> features;
  std::function<std::shared_ptr<const SparseColumns>()> coefficients;
};

class Alternation {
 public:
  virtual ~Alternation() = default;

  // Collective. From G_0, or from a checkpoint: this rank's rows of its G, and of the state what
  // all ranks have.
  virtual void start(const InitialRows& initial) = 0;
  virtual void resume(const FitState& state, SparseColumns coefficients) = 0;
  // Collective. The next iterations, as many as are done between two looks of the host: until
  // `rule` ends the fit, or any rank asks for something, which all ranks then see in
  // stop_requested() and save_requested(). Returns ||A - F G^T||^2 of each; of none where all that
  // came of it is a larger ridge. `ask` is called before each of them, and maybe for some more.
  virtual std::vector<double> iterate(const StopRule& rule,
                                      const std::function<Request()>& ask) = 0;

  // G of this rank's rows after the last iteration. Local.
  virtual std::shared_ptr<const SparseColumns> coefficients() const = 0;
  // Of the best of those that the last iterate() has done, where one is better than all before.
  virtual Solution best() const = 0;
  // Of the entries of A^T F~, the share that the last iteration computed.
  virtual double share_computed() const = 0;

  const RidgeSystem& ridge() const { return ridge_; }
  bool stop_requested() const { return stop_; }
  bool save_requested() const { return save_; }
  const Fit::Seconds& seconds() const { return seconds_; }

 protected:
  Alternation(double ridge, std::int64_t kept) : ridge_(ridge), kept_(kept) {}

  RidgeSystem ridge_;
  std::int64_t kept_;  // entries of a column of G over all ranks
  bool stop_ = false, save_ = false;
  Fit::Seconds seconds_;
};

// In the space of the embedding, d numbers a feature; the rows sharded over the group. `form` says
// how the dense step is done. Collective.
std::unique_ptr<Alternation> make_direct_alternation(const Shard& shard, Form form,
                                                     const Options& options,
                                                     cluster::Communicator& group);

// In the space of the tokens: with C = A^T A everything that an iteration needs follows from C G,
// whatever d is, and F is only made when it is asked for. For a group of one rank.
std::unique_ptr<Alternation> make_gram_alternation(const Shard& shard, const Options& options);

// In the space of the embedding, all of it on a device, without holding n x K numbers. float32
// products without TF32, float64 sums and systems. Collective over the group, whose ranks `place`
// joins; iterate() may throw c10::Error: the device fails, or has too little memory.
std::unique_ptr<Alternation> make_device_alternation(const Shard& shard, const Options& options,
                                                     const DevicePlace& place,
                                                     cluster::Communicator& group);

}  // namespace quench::dictionary
