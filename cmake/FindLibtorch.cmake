# Finds libtorch as PyPI's torch wheel lays it out, without a CUDA toolkit (the wheel's own TorchConfig.cmake insists on one).
# Searched: LIBTORCH_ROOT, CMAKE_PREFIX_PATH (the folder that holds include/ and lib/), .deps/libtorch/torch.
# Defines Libtorch::torch, with QUENCH_CUDA its GPU part included. Also makes quench_torch_pch, whose precompiled header the torch targets reuse.
if(QUENCH_CUDA)
  set(_default ${PROJECT_SOURCE_DIR}/.deps/libtorch-cuda/torch)
else()
  set(_default ${PROJECT_SOURCE_DIR}/.deps/libtorch/torch)
endif()
find_path(LIBTORCH_INCLUDE_DIR ATen/ATen.h HINTS ${LIBTORCH_ROOT} ${_default} PATH_SUFFIXES include NO_CMAKE_SYSTEM_PATH)
get_filename_component(_root "${LIBTORCH_INCLUDE_DIR}" DIRECTORY)
find_library(LIBTORCH_CPU_LIBRARY torch_cpu HINTS ${_root} PATH_SUFFIXES lib)
find_library(LIBTORCH_C10_LIBRARY c10 HINTS ${_root} PATH_SUFFIXES lib)
set(_libraries LIBTORCH_CPU_LIBRARY LIBTORCH_C10_LIBRARY)
set(_setup ./setup.sh)
if(QUENCH_CUDA)
  find_library(LIBTORCH_CUDA_LIBRARY torch_cuda HINTS ${_root} PATH_SUFFIXES lib)
  find_library(LIBTORCH_C10_CUDA_LIBRARY c10_cuda HINTS ${_root} PATH_SUFFIXES lib)
  list(APPEND _libraries LIBTORCH_CUDA_LIBRARY LIBTORCH_C10_CUDA_LIBRARY)
  set(_setup "./setup.sh --cuda")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Libtorch REQUIRED_VARS ${_libraries} LIBTORCH_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "run ${_setup}, or give an existing one with -DCMAKE_PREFIX_PATH=/path/to/torch")

if(Libtorch_FOUND AND NOT TARGET Libtorch::torch)
  add_library(Libtorch::c10 SHARED IMPORTED)
  set_target_properties(Libtorch::c10 PROPERTIES IMPORTED_LOCATION ${LIBTORCH_C10_LIBRARY})
  add_library(Libtorch::cpu SHARED IMPORTED)
  set_target_properties(Libtorch::cpu PROPERTIES IMPORTED_LOCATION ${LIBTORCH_CPU_LIBRARY})
  add_library(Libtorch::torch INTERFACE IMPORTED)
  target_include_directories(Libtorch::torch SYSTEM INTERFACE
    ${LIBTORCH_INCLUDE_DIR} ${LIBTORCH_INCLUDE_DIR}/torch/csrc/api/include)
  # at::parallel_for is compiled into its callers: without OpenMP it is a plain loop.
  find_package(OpenMP REQUIRED COMPONENTS CXX)
  target_link_libraries(Libtorch::torch INTERFACE Libtorch::cpu Libtorch::c10 OpenMP::OpenMP_CXX)
  if(QUENCH_CUDA)
    # One process, one CUDA runtime: libtorch's headers and ours must be of one major version.
    if(EXISTS ${_root}/version.py)
      file(STRINGS ${_root}/version.py _cuda_line REGEX "^cuda.*= '[0-9]")
    endif()
    if("${_cuda_line}" MATCHES "'([0-9]+)" AND NOT CMAKE_MATCH_1 EQUAL CUDAToolkit_VERSION_MAJOR)
      message(FATAL_ERROR "libtorch in ${_root} is built for CUDA ${CMAKE_MATCH_1}, the toolkit is ${CUDAToolkit_VERSION}: "
        "install the CUDA ${CMAKE_MATCH_1} toolkit, or a libtorch for this one (./setup.sh --cuda --libtorch DIR)")
    endif()
    add_library(Libtorch::c10_cuda SHARED IMPORTED)
    set_target_properties(Libtorch::c10_cuda PROPERTIES IMPORTED_LOCATION ${LIBTORCH_C10_CUDA_LIBRARY})
    # No symbol of libtorch_cuda is called by name: it registers its kernels when it is loaded.
    target_link_libraries(Libtorch::torch INTERFACE
      "-Wl,--push-state,--no-as-needed,${LIBTORCH_CUDA_LIBRARY},--pop-state" Libtorch::c10_cuda CUDA::cudart)
  endif()
  # libtorch finds its CUDA wheels through its own RPATH; the linker need not follow it.
  target_link_options(Libtorch::torch INTERFACE -Wl,--allow-shlib-undefined)

  file(WRITE ${CMAKE_BINARY_DIR}/torch_pch.cpp "")
  add_library(quench_torch_pch STATIC ${CMAKE_BINARY_DIR}/torch_pch.cpp)
  target_link_libraries(quench_torch_pch PUBLIC quench_options Libtorch::torch)
  target_precompile_headers(quench_torch_pch PUBLIC <ATen/ATen.h> <nlohmann/json.hpp>)
endif()
