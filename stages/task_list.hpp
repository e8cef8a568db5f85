#pragma once

// The tasks, in the order of their columns: a line each. NAME(x) is ProbeKind::x, and x_task(),
// which stages/tasks/x.cpp defines. A kind's number stands in corpus.h5: new ones come last.
#define QUENCH_TASKS(NAME) \
  NAME(choice)             \
  NAME(letter)             \
  NAME(open)               \
  NAME(text)               \
  NAME(instruction)
