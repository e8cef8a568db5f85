find_package(GTest REQUIRED)

# quench_test(NAME SOURCES ... LINKS ... [RANKS 1 2 3] [LABEL unit] [TIMEOUT 120] [TORCH]):
# one GoogleTest program; with RANKS it runs under mpiexec once for each count (a hang is a failure).
function(quench_test name)
  cmake_parse_arguments(ARG "TORCH" "LABEL;TIMEOUT" "SOURCES;LINKS;RANKS" ${ARGN})
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE quench_options ${ARG_LINKS} GTest::gtest)
  if(ARG_RANKS)
    target_link_libraries(${name} PRIVATE quench_mpi_test_main)
  else()
    target_link_libraries(${name} PRIVATE GTest::gtest_main)
  endif()
  if(ARG_TORCH)
    target_link_libraries(${name} PRIVATE Libtorch::torch)
    target_precompile_headers(${name} REUSE_FROM quench_torch_pch)
  endif()
  if(NOT ARG_RANKS)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT}
      ENVIRONMENT OMP_WAIT_POLICY=PASSIVE)
    return()
  endif()
  foreach(ranks IN LISTS ARG_RANKS)
    add_test(NAME ${name}_${ranks}
      COMMAND ${MPIEXEC_EXECUTABLE} -n ${ranks} --oversubscribe --bind-to none $<TARGET_FILE:${name}>)
    set_tests_properties(${name}_${ranks} PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT} PROCESSORS ${ranks}
      ENVIRONMENT "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;OMP_NUM_THREADS=1")
  endforeach()
endfunction()

# What shows only after many repetitions or on long inputs: for ctest -C full alone, which is ./test.sh --full.

# quench_soak(<test> <rounds> [RANKS <n>...]): a GoogleTest program again and again, its tests in a changing order, which is
# the same on all ranks. Without suites named Faults: a fault happens once a process.
function(quench_soak test rounds)
  cmake_parse_arguments(ARG "" "" "RANKS" ${ARGN})
  set(repeated $<TARGET_FILE:${test}> --gtest_repeat=${rounds} --gtest_shuffle --gtest_random_seed=1 --gtest_brief=1
    --gtest_filter=-Faults.*)
  if(NOT ARG_RANKS)
    add_test(NAME ${test}_soak CONFIGURATIONS full COMMAND ${repeated})
    set(tests ${test}_soak)
  endif()
  foreach(ranks IN LISTS ARG_RANKS)
    add_test(NAME ${test}_${ranks}_soak CONFIGURATIONS full
      COMMAND ${MPIEXEC_EXECUTABLE} -n ${ranks} --oversubscribe --bind-to none ${repeated})
    list(APPEND tests ${test}_${ranks}_soak)
  endforeach()
  set_tests_properties(${tests} PROPERTIES LABELS soak TIMEOUT 1800 PROCESSORS 2
    ENVIRONMENT "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;OMPI_MCA_mpi_yield_when_idle=1;OMP_NUM_THREADS=1")
endfunction()

# quench_long(<test> <command>...): the test of that name in this folder with QUENCH_LONG=1, and with what it does then.
function(quench_long test)
  get_test_property(${test} ENVIRONMENT environment)
  add_test(NAME ${test}_long CONFIGURATIONS full COMMAND ${ARGN})
  set_tests_properties(${test}_long PROPERTIES LABELS soak TIMEOUT 3600 PROCESSORS 2
    ENVIRONMENT "${environment};QUENCH_LONG=1")
endfunction()
