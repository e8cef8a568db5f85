# quench_options: what every target of the project is compiled with.
set(QUENCH_SANITIZE "" CACHE STRING "Sanitizers of the whole build, e.g. address,undefined or thread")

add_library(quench_options INTERFACE)
target_include_directories(quench_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(quench_options INTERFACE
  $<$<COMPILE_LANGUAGE:C,CXX>:-Wall -Wextra -Wpedantic -Wshadow -Werror>
  # The code that nvcc generates for the host compiler is not pedantic.
  "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings;SHELL:-Xcompiler=-Wall,-Wextra,-Wshadow>")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 warns of std::string's own code (PR 105651)
  target_compile_options(quench_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)
endif()
target_compile_definitions(quench_options INTERFACE OMPI_SKIP_MPICXX)
if(QUENCH_SANITIZE)
  target_compile_options(quench_options INTERFACE -fsanitize=${QUENCH_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(quench_options INTERFACE -fsanitize=${QUENCH_SANITIZE})
endif()

# quench_library(NAME SOURCES ... LINKS ...): a static library of one folder.
function(quench_library name)
  cmake_parse_arguments(ARG "TORCH" "" "SOURCES;LINKS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC quench_options ${ARG_LINKS})
  if(ARG_TORCH)
    target_link_libraries(${name} PUBLIC Libtorch::torch)
    if(TARGET quench_torch_pch)
      target_precompile_headers(${name} REUSE_FROM quench_torch_pch)
    endif()
  endif()
endfunction()
