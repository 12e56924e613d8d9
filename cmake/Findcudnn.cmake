# Finds cuDNN 9, beside the CUDA toolkit or elsewhere, and defines cudnn::cudnn. Its graph interface is what
# cuda/cudnn_graph.h is written with.
find_path(CUDNN_INCLUDE_DIR cudnn_graph.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
find_library(CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 HINTS ${CUDAToolkit_LIBRARY_DIR})
mark_as_advanced(CUDNN_INCLUDE_DIR CUDNN_LIBRARY)

if(CUDNN_INCLUDE_DIR AND EXISTS ${CUDNN_INCLUDE_DIR}/cudnn_version.h)
  file(STRINGS ${CUDNN_INCLUDE_DIR}/cudnn_version.h version REGEX "define CUDNN_(MAJOR|MINOR|PATCHLEVEL) ")
  string(REGEX REPLACE "[^0-9;]" "" version "${version}")
  string(REPLACE ";" "." cudnn_VERSION "${version}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(cudnn REQUIRED_VARS CUDNN_LIBRARY CUDNN_INCLUDE_DIR VERSION_VAR cudnn_VERSION
  REASON_FAILURE_MESSAGE "The CUDA side needs cuDNN 9. To use a copy elsewhere, such as that of the wheel nvidia-cudnn-cu13:
  -DCUDNN_INCLUDE_DIR=FOLDER -DCUDNN_LIBRARY=FILE")

if(cudnn_FOUND AND NOT TARGET cudnn::cudnn)
  add_library(cudnn::cudnn UNKNOWN IMPORTED)
  set_target_properties(cudnn::cudnn PROPERTIES IMPORTED_LOCATION ${CUDNN_LIBRARY}
                        INTERFACE_INCLUDE_DIRECTORIES ${CUDNN_INCLUDE_DIR})
endif()
