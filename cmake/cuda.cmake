# The CUDA side (cuda/) as a part of espalier_core, which calls it and is called by it.
file(GLOB cuda_sources CONFIGURE_DEPENDS cuda/*.cpp cuda/*.cu)
target_sources(espalier_core PRIVATE ${cuda_sources})
espalier_headers(espalier_core cuda)
target_compile_definitions(espalier_core PUBLIC ESPALIER_CUDA)

if(ESPALIER_CUDA STREQUAL "EMULATED")
  include(tests/cuda_emulation/cuda_emulation.cmake)
  return()
endif()

enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
set(CMAKE_CUDA_STANDARD 20)
target_link_libraries(espalier_core PUBLIC CUDA::cudart CUDA::cublasLt cudnn)
