#pragma once

// Takes a file into the program at build time as the characters [symbol_begin, symbol_end); the
// assembler's .incbin needs no copy of it in a source. At namespace scope, outside of namespaces;
// the source must depend on the file in CMake (OBJECT_DEPENDS).
#define QUENCH_EMBED(symbol, path)                                              \
  asm(".section .rodata\n" #symbol "_begin: .incbin \"" path "\"\n" #symbol     \
      "_end: .byte 0\n.previous\n");                                            \
  extern "C" const char symbol##_begin[], symbol##_end[];                       \
  extern "C" const char symbol##_begin[] __attribute__((visibility("hidden"))); \
  extern "C" const char symbol##_end[] __attribute__((visibility("hidden")))
