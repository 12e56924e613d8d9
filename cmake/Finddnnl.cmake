# Finds oneDNN and defines DNNL::dnnl. Debian's own CMake package of it cannot be used: it asks for OpenCL's
# development files, which nothing else here needs. Any 2.x will do; 3.0 removed the operation descriptors
# (dnnl::matmul::desc and the like) that core/cpu is written with, and its library is another to link with.
find_path(DNNL_INCLUDE_DIR dnnl.hpp)
find_library(DNNL_LIBRARY dnnl)
mark_as_advanced(DNNL_INCLUDE_DIR DNNL_LIBRARY)

if(DNNL_INCLUDE_DIR AND EXISTS ${DNNL_INCLUDE_DIR}/oneapi/dnnl/dnnl_version.h)
  file(STRINGS ${DNNL_INCLUDE_DIR}/oneapi/dnnl/dnnl_version.h version REGEX "define DNNL_VERSION_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE "[^0-9;]" "" version "${version}")
  string(REPLACE ";" "." dnnl_VERSION "${version}")
endif()

set(DNNL_IS_2 FALSE)
if(dnnl_VERSION VERSION_GREATER_EQUAL 2 AND dnnl_VERSION VERSION_LESS 3)
  set(DNNL_IS_2 TRUE)
elseif(DNNL_INCLUDE_DIR)
  set(dnnl_reason "Espalier needs oneDNN 2.x (2.6 is tested), but ${DNNL_INCLUDE_DIR} holds oneDNN ${dnnl_VERSION}.
  Debian 12's libdnnl-dev fits. To use a copy elsewhere: -DDNNL_INCLUDE_DIR=FOLDER -DDNNL_LIBRARY=FILE")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(dnnl REQUIRED_VARS DNNL_LIBRARY DNNL_INCLUDE_DIR DNNL_IS_2
                                  VERSION_VAR dnnl_VERSION REASON_FAILURE_MESSAGE "${dnnl_reason}")

if(dnnl_FOUND AND NOT TARGET DNNL::dnnl)
  add_library(DNNL::dnnl UNKNOWN IMPORTED)
  set_target_properties(DNNL::dnnl PROPERTIES IMPORTED_LOCATION ${DNNL_LIBRARY}
                        INTERFACE_INCLUDE_DIRECTORIES ${DNNL_INCLUDE_DIR})
endif()
