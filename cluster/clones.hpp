#pragma once

// QUENCH_CLONES before a function: compiled for several instruction sets, of which the best is
// taken at start. Not under sanitizers, whose runtime is not ready when the choice is made.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define QUENCH_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define QUENCH_CLONES
#endif
