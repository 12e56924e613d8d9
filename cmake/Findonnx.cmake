# Finds the messages of ONNX files, libonnx_proto, and defines ONNX::proto. Debian's own CMake package also wants the parts of
# libonnx that nothing here needs, and says neither its definitions nor protobuf.
find_path(ONNX_INCLUDE_DIR onnx/onnx_pb.h)
find_library(ONNX_PROTO_LIBRARY onnx_proto)
mark_as_advanced(ONNX_INCLUDE_DIR ONNX_PROTO_LIBRARY)
find_package(Protobuf MODULE QUIET)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(onnx REQUIRED_VARS ONNX_PROTO_LIBRARY ONNX_INCLUDE_DIR Protobuf_LIBRARY)

if(onnx_FOUND AND NOT TARGET ONNX::proto)
  add_library(ONNX::proto UNKNOWN IMPORTED)
  set_target_properties(ONNX::proto PROPERTIES IMPORTED_LOCATION ${ONNX_PROTO_LIBRARY}
                        INTERFACE_INCLUDE_DIRECTORIES ${ONNX_INCLUDE_DIR}
                        INTERFACE_COMPILE_DEFINITIONS "ONNX_NAMESPACE=onnx;ONNX_ML=1"
                        INTERFACE_LINK_LIBRARIES protobuf::libprotobuf)
endif()
