#pragma once

// Faults on request, for tests of crash recovery.
#include <string>

namespace quench::cluster {

// QUENCH_FAULT="STAGE:N:SIGNAL" or "STAGE:N:SIGNAL:RANK" in the environment, e.g.
// "dictionary:3:KILL:1": the signal is raised in a process (of world rank RANK alone) right after
// it has journalled its N-th record of that stage. Right before a file or folder is published,
// STAGE is its name: "selection.h5", "model", "index.html". SIGNAL: KILL, STOP, TERM, USR1, USR2,
// INT, SEGV, ABRT.
class Fault {
 public:
  // Throws ConfigError when the variable cannot be understood.
  Fault(const std::string& stage, int rank);
  // Counts a journalled record of the stage, or a publication, over the life of the process.
  void after_record() const;

 private:
  std::string stage_;
  int signal_ = 0;  // 0: none for this stage and rank
  int record_ = 0;
};

}  // namespace quench::cluster
