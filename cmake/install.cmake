# cmake --install: the program, the libraries with their headers, and the CMake package that find_package(espalier)
# finds. Configs go to share/espalier/configs, the scripts that take networks to PyTorch and back to share/espalier/scripts.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/espalier)

install(TARGETS espalier RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${generated}/espalier.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${generated}/espalier.bash RENAME espalier
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${generated}/_espalier DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES ${generated}/espalier.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(DIRECTORY configs/ DESTINATION ${CMAKE_INSTALL_DATADIR}/espalier/configs)
install(PROGRAMS scripts/from-torch scripts/load_in_torch.py DESTINATION ${CMAKE_INSTALL_DATADIR}/espalier/scripts)

get_property(libraries GLOBAL PROPERTY espalier_libraries)
foreach(library ${libraries})
  install(TARGETS espalier_${library} EXPORT espalier ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  # By glob rather than by folder: data/ may also hold downloaded sets of many thousand files.
  file(GLOB headers RELATIVE ${CMAKE_SOURCE_DIR} CONFIGURE_DEPENDS ${library}/*.h ${library}/models/*.h)
  foreach(header ${headers})
    cmake_path(GET header PARENT_PATH folder)
    install(FILES ${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/espalier/${folder})
  endforeach()
endforeach()

install(TARGETS espalier_predict EXPORT espalier LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES predict/espalier_predict.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
file(RELATIVE_PATH include_from_pc /${CMAKE_INSTALL_LIBDIR}/pkgconfig /${CMAKE_INSTALL_INCLUDEDIR})  # wherever PREFIX is
configure_file(cmake/espalier-predict.pc.in ${CMAKE_BINARY_DIR}/espalier-predict.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/espalier-predict.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(DIRECTORY predict/examples/ DESTINATION ${CMAKE_INSTALL_DATADIR}/espalier/examples)

install(EXPORT espalier NAMESPACE espalier:: FILE espalierTargets.cmake DESTINATION ${package_dir})
configure_package_config_file(cmake/espalierConfig.cmake.in ${CMAKE_BINARY_DIR}/espalierConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/espalierConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/espalierConfig.cmake ${CMAKE_BINARY_DIR}/espalierConfigVersion.cmake
              cmake/Finddnnl.cmake cmake/Findonnx.cmake cmake/Findcudnn.cmake DESTINATION ${package_dir})
