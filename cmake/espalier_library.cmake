# espalier_headers(TARGET FOLDER): lets whoever links TARGET write #include "espalier/FOLDER/x.h", and nobody else.
# Each folder gets an include root of its own that holds one link to it, so a use against the direction of the
# layers does not compile.
function(espalier_headers target folder)
  set(root ${CMAKE_BINARY_DIR}/include/${folder})
  file(MAKE_DIRECTORY ${root}/espalier)
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/${folder} ${root}/espalier/${folder} SYMBOLIC)
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${root}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endfunction()

# espalier_library(NAME SOURCES globs... [PUBLIC deps...] [PRIVATE deps...]): the static library espalier_NAME from
# folder NAME. A dependency that names another folder becomes its library.
function(espalier_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${arg_SOURCES})
  add_library(espalier_${name} STATIC ${sources})
  add_library(espalier::${name} ALIAS espalier_${name})
  set_target_properties(espalier_${name} PROPERTIES EXPORT_NAME ${name})
  target_compile_features(espalier_${name} PUBLIC cxx_std_20)
  espalier_headers(espalier_${name} ${name})
  foreach(scope PUBLIC PRIVATE)
    foreach(dependency ${arg_${scope}})
      if(TARGET espalier_${dependency})
        set(dependency espalier_${dependency})
      endif()
      target_link_libraries(espalier_${name} ${scope} ${dependency})
    endforeach()
  endforeach()
  set_property(GLOBAL APPEND PROPERTY espalier_libraries ${name})
endfunction()

# espalier_version(TARGET): defines ESPALIER_VERSION and ESPALIER_COMMIT for the one file that reports them. A new
# commit configures anew, so that a run never names an old one.
function(espalier_version target)
  set(git WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  execute_process(COMMAND git rev-parse --git-path logs/HEAD OUTPUT_VARIABLE log ${git})
  execute_process(COMMAND git rev-parse --short=12 --verify HEAD OUTPUT_VARIABLE commit ${git})
  if(failed)
    set(commit unknown)
  else()
    cmake_path(ABSOLUTE_PATH log BASE_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${log})
  endif()
  set_property(SOURCE ${CMAKE_SOURCE_DIR}/run/version.cpp TARGET_DIRECTORY ${target} APPEND PROPERTY
               COMPILE_DEFINITIONS ESPALIER_VERSION="${PROJECT_VERSION}" ESPALIER_COMMIT="${commit}")
endfunction()
