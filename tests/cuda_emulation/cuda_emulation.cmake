# The CUDA side on the CPU (preset cuda-emulated): cuda/*.cu compiled by the host compiler against NVIDIA's own headers,
# with this folder in place of the CUDA run-time libraries. Of the toolkit the headers are needed, and cuDNN's library,
# which checks every graph.
find_path(ESPALIER_CUDA_INCLUDE cuda_runtime.h HINTS ENV CUDA_HOME PATHS /usr/local/cuda/include PATH_SUFFIXES include
          REQUIRED)

set(emulation ${CMAKE_CURRENT_LIST_DIR})
file(GLOB emulation_sources CONFIGURE_DEPENDS ${emulation}/*.cpp)
list(FILTER emulation_sources EXCLUDE REGEX "_test\\.cpp$")
target_sources(espalier_core PRIVATE ${emulation_sources})

set(emulation_root ${CMAKE_BINARY_DIR}/include/cuda_emulation)
file(MAKE_DIRECTORY ${emulation_root}/espalier)
file(CREATE_LINK ${emulation} ${emulation_root}/espalier/cuda_emulation SYMBOLIC)
target_include_directories(espalier_core PUBLIC $<BUILD_INTERFACE:${emulation_root}>)
target_include_directories(espalier_core SYSTEM PUBLIC $<BUILD_INTERFACE:${ESPALIER_CUDA_INCLUDE}>)
target_compile_definitions(espalier_core PUBLIC ESPALIER_CUDA_EMULATED)

find_library(ESPALIER_CUDNN_GRAPH NAMES cudnn_graph libcudnn_graph.so.9
             PATHS /usr/local/cuda/lib64 /usr/local/cuda/lib REQUIRED)
set_property(SOURCE ${emulation}/real_cudnn.cpp APPEND PROPERTY COMPILE_DEFINITIONS
             ESPALIER_CUDNN_LIBRARY="${ESPALIER_CUDNN_GRAPH}")

# The cards that such a build would refuse, as one of the preset cuda does.
set_property(SOURCE cuda/device.cpp APPEND PROPERTY COMPILE_DEFINITIONS ESPALIER_LEAST_CAPABILITY=80)

# A .cu file is C++ with the language's additions in front. A vector access that is not aligned ends the program.
# By -O1, as tests are: they build in less than half the time, and run nearly as fast.
set(emulated_kernel_options -O1 -Wno-unknown-pragmas -fsanitize=alignment -fno-sanitize-recover=alignment)
file(GLOB kernel_sources CONFIGURE_DEPENDS cuda/*.cu)
set_source_files_properties(${kernel_sources} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS
                            "-xc++;-include;espalier/cuda_emulation/device.h;${emulated_kernel_options}")
target_link_options(espalier_core PUBLIC -fsanitize=alignment)
