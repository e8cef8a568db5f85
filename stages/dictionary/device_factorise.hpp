#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "stages/dictionary/factorise.hpp"

// The factorisation of factorise.hpp for several concepts at once, in dense batched products that
// stay on one device. Local.
namespace quench::dictionary {

// One of the batch: all rows of its A^T, and its G_0; or where it goes on from, a state whose ridge
// was never raised.
struct DeviceJob {
  std::reference_wrapper<const Rows> rows;
  InitialRows initial;
  const FitState* resume = nullptr;
};

// What a batch is told while it runs. All may be empty.
struct BatchHooks {
  std::function<bool()> stop;  // asked once a chunk
  // Called between chunks, when it stops or Options::checkpoint seconds have passed, for each job
  // that has new iterations: those on their way, and those that have ended. A DataError of it is
  // logged; the batch goes on.
  std::function<void(std::int64_t job, const FitState&)> save;
};

// What factorise() gives, up to rounding, for each job; Fit::form is "batched" and Fit::seconds its
// share of the batch. The host looks at the objectives every `chunk` iterations and at nothing in
// between; a fit is nevertheless the one of the iteration at which its stop rule ends it. Empty for
// a job whose systems are singular at the first ridge, or which overflows: factorise() raises the
// ridge, or says what is wrong. float32 products without TF32, float64 systems and objectives, as
// there. Throws Stopped, after save(), when stop() is true; c10::Error: the device has too little
// memory.
std::vector<std::optional<Fit>> factorise_batch(std::span<const DeviceJob> jobs,
                                                const Options& options, at::Device device,
                                                const BatchHooks& hooks = {},
                                                std::int64_t chunk = 16);

// The kept[b] entries of largest magnitude of every row of `values` [B, K, n], exactly, ties to the
// lower place, as booleans; `most` is the largest of `kept` [B] int64. Places where `padding` [B,
// n] is true never win.
at::Tensor winner_mask(const at::Tensor& values, const at::Tensor& padding, const at::Tensor& kept,
                       std::int64_t most);

}  // namespace quench::dictionary
