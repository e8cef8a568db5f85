#pragma once

#include <filesystem>
#include <string_view>

// One line an event on standard error, with time and level. (A header without the logging library,
// whose formatting library is another version than the one that libtorch's headers bring.)
namespace quench::cluster {

// Once a process, in main.
void start_log();
// From now on every line of this rank also goes to FILE, with the rank; ranks other than 0 write on
// standard error only warnings and worse. Throws DataError when the file cannot be made.
void log_to_file(const std::filesystem::path& file, int rank);

void log_info(std::string_view line);
void log_warning(std::string_view line);

}  // namespace quench::cluster
