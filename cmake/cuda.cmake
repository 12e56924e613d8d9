# The CUDA side (cuda/) as a part of espalier_core, which calls it and is called by it.
file(GLOB cuda_sources CONFIGURE_DEPENDS cuda/*.cpp cuda/*.cu)
target_sources(espalier_core PRIVATE ${cuda_sources})
set_source_files_properties(cuda/allocator.cpp PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)  # joined, it has a -Wsubobject-linkage
espalier_headers(espalier_core cuda)
target_compile_definitions(espalier_core PUBLIC ESPALIER_CUDA)

if(ESPALIER_CUDA STREQUAL "EMULATED")
  include(tests/cuda_emulation/cuda_emulation.cmake)
  return()
endif()

# One run-time library for the process: the shared one, which cuBLAS and cuDNN use, too.
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
set_target_properties(espalier_core PROPERTIES CUDA_RUNTIME_LIBRARY Shared)
find_program(CMAKE_CUDA_COMPILER nvcc HINTS ENV CUDACXX ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
enable_language(CUDA)
foreach(kind STANDARD EXTENSION)  # CMake 3.25 does not know that nvcc 12 and later can do it
  if(NOT CMAKE_CUDA20_${kind}_COMPILE_OPTION)
    set(CMAKE_CUDA20_${kind}_COMPILE_OPTION -std=c++20)
  endif()
endforeach()
set_target_properties(espalier_core PROPERTIES CUDA_STANDARD 20 CUDA_ARCHITECTURES "${CMAKE_CUDA_ARCHITECTURES}")
find_package(CUDAToolkit REQUIRED)
find_package(cudnn 9 REQUIRED MODULE)
target_link_libraries(espalier_core PUBLIC CUDA::cudart CUDA::cublasLt cudnn::cudnn)

# Every kernel's registers and spills come into the build's log, and a spill is an error, as every warning is. The
# code that nvcc writes for the host compiler has unused parameters of its own.
target_compile_options(espalier_core PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-Werror all-warnings --expt-relaxed-constexpr -Xptxas=-v,--warn-on-spills,-Werror -Xcompiler=-Wall,-Wextra,-Werror,-Wno-unused-parameter>")

# Which cards this program has code for: a card older than the least of them is refused (cuda/device.cpp).
string(REGEX MATCHALL "[0-9]+" architectures "${CMAKE_CUDA_ARCHITECTURES}")
list(SORT architectures COMPARE NATURAL)
list(GET architectures 0 least)
set_property(SOURCE cuda/device.cpp APPEND PROPERTY COMPILE_DEFINITIONS ESPALIER_LEAST_CAPABILITY=${least})
