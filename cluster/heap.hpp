#pragma once

// What malloc does with freed memory. Local; nothing happens without glibc.
namespace quench::cluster {

// Freed memory stays with the process: tensors of the same sizes come and go, and pages that are
// new from the system are cleared first, up to a fifth of a forward pass. At the start of main().
// A setting of the user's stays (MALLOC_TRIM_THRESHOLD_ and its like, GLIBC_TUNABLES).
void keep_freed_memory();

// Gives it back. Where the work changes: at a stage's end.
void return_freed_memory();

}  // namespace quench::cluster
