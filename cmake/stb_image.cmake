# stb_image as data/image_decode.cpp compiles it: the system's, with a mistake mended that versions before 2.28 have. Where a
# JPEG's data end before its blocks do, they go on with bits that are not there and shift by more than a word has. The copy in
# the build folder takes them for zeros and tells whoever includes it, by STBI_OUT_OF_BITS().
find_path(STB_INCLUDE_DIR stb/stb_image.h REQUIRED)
mark_as_advanced(STB_INCLUDE_DIR)
set(STB_PATCHED_DIR ${CMAKE_BINARY_DIR}/stb)

set(begin "static void stbi__grow_buffer_unsafe(stbi__jpeg *j)\n{\n")
set(mended "${begin}   if (j->code_bits < 0) { j->code_bits = 0; j->code_buffer = 0; STBI_OUT_OF_BITS(); }\n")
file(READ ${STB_INCLUDE_DIR}/stb/stb_image.h stb_image)
string(FIND "${stb_image}" "${begin}" found)
if(found EQUAL -1)
  message(FATAL_ERROR "${STB_INCLUDE_DIR}/stb/stb_image.h: no stbi__grow_buffer_unsafe(stbi__jpeg *j), which cmake/stb_image.cmake mends")
endif()
string(REPLACE "${begin}" "${mended}" stb_image "${stb_image}")
file(WRITE ${STB_PATCHED_DIR}/stb_image.h.new "${stb_image}")
file(COPY_FILE ${STB_PATCHED_DIR}/stb_image.h.new ${STB_PATCHED_DIR}/stb_image.h ONLY_IF_DIFFERENT)
