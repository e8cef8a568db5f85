#pragma once

#include <string>

namespace quench::tasks {

// The first stand-alone capital A to D: 0 to 3; -1 when there is none (methods 7.1).
int first_letter(const std::string& text);

// The reference's way to find a response in the whole decoded text: what follows the first `mark`,
// or, without one, the first occurrence of its word. Wrong where a prompt holds the mark (methods
// 11.1, 8).
std::string behind_mark(const std::string& text, const std::string& mark);

}  // namespace quench::tasks
