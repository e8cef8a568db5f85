#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <deque>
#include <span>

#include "stages/factorisation/stop_rule.hpp"

namespace quench::dictionary {

// StopRule for B factorisations at once, in masks on a device, decision by decision the same; what
// is called enqueues and returns. Local.
class DeviceStopRule {
 public:
  // Goes on from rules of the same options, one a factorisation.
  DeviceStopRule(std::span<const StopRule> rules, at::Device device);

  // Takes the objectives of the next iteration, [B] float64, of those that are `going`, [B] bool;
  // the others' do not count. Which of these are the best so far, [B] bool.
  at::Tensor improves(const at::Tensor& objective, const at::Tensor& going);
  // The factorisations to stop now, [B] bool; of one that was not going always, of no meaning.
  at::Tensor ended() const;
  const at::Tensor& best_iteration() const { return best_iteration_; }  // [B] int64

  // Goes on with these places only, in this order; int64 on the device.
  void narrow(const at::Tensor& places);

 private:
  at::Tensor stalled() const;

  StopOptions options_;
  std::deque<at::Tensor> least_;      // [B] each, the last window + 1: the least objective so far
  at::Tensor done_, best_iteration_;  // [B] int64
};

}  // namespace quench::dictionary
