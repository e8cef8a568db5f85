# Every build refuses sources that clang-format-14 would change, a folder at a time and only where something changed. Without the
# program nothing is checked.
find_program(CLANG_FORMAT clang-format-14)
if(CLANG_FORMAT)
  set(stamps)
  foreach(folder cluster model stages pipeline tests bench)
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${folder}/*.cpp ${folder}/*.hpp ${folder}/*.cu)
    set(stamp ${CMAKE_CURRENT_BINARY_DIR}/format-${folder}.stamp)
    add_custom_command(OUTPUT ${stamp}
      COMMAND ${CLANG_FORMAT} --dry-run --Werror ${sources}
      COMMAND ${CMAKE_COMMAND} -E touch ${stamp}
      DEPENDS ${sources} ${PROJECT_SOURCE_DIR}/.clang-format
      COMMENT "checking the format of ${folder} (clang-format-14 -i mends it)"
      VERBATIM)
    list(APPEND stamps ${stamp})
  endforeach()
  add_custom_target(format ALL DEPENDS ${stamps})
endif()
