# stb_image as data/image_decode.cpp compiles it: the system's, with mistakes mended that Debian's 2.27 has. The copy in the
# build folder is made of the original by replacing pieces of its text; where it lacks one of them, nothing is built.
find_path(STB_INCLUDE_DIR stb/stb_image.h REQUIRED)
mark_as_advanced(STB_INCLUDE_DIR)
set(STB_PATCHED_DIR ${CMAKE_BINARY_DIR}/stb)
file(READ ${STB_INCLUDE_DIR}/stb/stb_image.h stb_image)

# mend_stb(WHAT OLD NEW): puts NEW in the one place where OLD stands.
macro(mend_stb what old new)
  string(REPLACE "${old}" "${new}" stb_mended "${stb_image}")
  string(LENGTH "${stb_image}" stb_length)
  string(LENGTH "${stb_mended}" stb_mended_length)
  string(LENGTH "${old}" stb_old_length)
  string(LENGTH "${new}" stb_new_length)
  math(EXPR stb_once "${stb_length} - ${stb_old_length} + ${stb_new_length}")
  if(stb_mended STREQUAL stb_image OR NOT stb_mended_length EQUAL stb_once)
    message(FATAL_ERROR "${STB_INCLUDE_DIR}/stb/stb_image.h: ${what}: the text that cmake/stb_image.cmake mends is not there once, "
                        "but never or often: is it a version that needs no mending, or another mending?")
  endif()
  set(stb_image "${stb_mended}")
endmacro()

# Where a JPEG's data end before its blocks do, it goes on with bits that are not there and shifts by more than a word has. The
# copy takes them for zeros and tells whoever includes it, by STBI_OUT_OF_BITS().
set(old "static void stbi__grow_buffer_unsafe(stbi__jpeg *j)\n{\n")
mend_stb("the end of a JPEG's data" "${old}"
         "${old}   if (j->code_bits < 0) { j->code_bits = 0; j->code_buffer = 0; STBI_OUT_OF_BITS(); }\n")

# The last pair of pixels of a row whose colours are stored at half its width (4:2:2): its left one is three parts the last colour
# and one part the one before, not the other way round.
mend_stb("the last colours of a row of a 4:2:2 JPEG"
         "out[i*2+0] = stbi__div4(input[w-2]*3 + input[w-1] + 2);" "out[i*2+0] = stbi__div4(input[w-1]*3 + input[w-2] + 2);")

# What a PNG's data unpack to grows for as long as they say. The copy asks whoever includes it, by STBI_MAY_INFLATE_TO(bytes).
set(old "   while (cur + n > limit) {\n")
mend_stb("the size of a PNG's data" "${old}"
         "   if (!STBI_MAY_INFLATE_TO(cur + n)) return stbi__err(\"too much data\", \"Corrupt PNG\");\n${old}")

# A pixel of a BMP may name a colour that its palette lacks: memory that nothing has set. In the copy it is black.
set(old "unsigned int mr=0,mg=0,mb=0,ma=0, all_a;\n   stbi_uc pal[256][4];")
string(REPLACE "[256][4]" "[256][4] = { { 0 } }" new "${old}")
mend_stb("the palette of a BMP" "${old}" "${new}")

file(WRITE ${STB_PATCHED_DIR}/stb_image.h.new "${stb_image}")
file(COPY_FILE ${STB_PATCHED_DIR}/stb_image.h.new ${STB_PATCHED_DIR}/stb_image.h ONLY_IF_DIFFERENT)
