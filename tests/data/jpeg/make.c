/* Makes the JPEG files of this folder and, beside each, the pixels that libjpeg decodes it to, as .ppm or .pgm. Each
 * layout of colour there is, at an even and an odd width:
 *
 *   cc make.c -ljpeg -o /tmp/make && /tmp/make     (Debian: libjpeg62-turbo-dev; written with 2.1.5)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

enum { height = 13, most_width = 64 };

/* Slow ramps with stripes of strong colour in them, so that colours mixed the wrong way are far off. */
static void draw(JSAMPLE* rgb, int width) {
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x, rgb += 3) {
      const int stripe = (width - 1 - x) / 2 % 3, band = y / 4 % 2;
      rgb[0] = stripe == 0 ? 230 - 3 * y : 40 + 2 * x;
      rgb[1] = band ? 60 + 4 * x : 190 - 5 * y;
      rgb[2] = stripe == 1 ? 220 - 2 * x : 30 + 3 * y;
    }
}

static void encode(FILE* file, int width, int grey, int h, int v, int progressive, int restart) {
  struct jpeg_compress_struct c;
  struct jpeg_error_mgr errors;
  JSAMPLE rgb[height * most_width * 3], *row;
  draw(rgb, width);
  c.err = jpeg_std_error(&errors);
  jpeg_create_compress(&c);
  jpeg_stdio_dest(&c, file);
  c.image_width = width;
  c.image_height = height;
  c.input_components = 3;
  c.in_color_space = JCS_RGB;
  jpeg_set_defaults(&c);
  if (grey) jpeg_set_colorspace(&c, JCS_GRAYSCALE);
  jpeg_set_quality(&c, 90, TRUE);
  c.comp_info[0].h_samp_factor = h;
  c.comp_info[0].v_samp_factor = v;
  if (progressive) jpeg_simple_progression(&c);
  c.restart_interval = restart;
  jpeg_start_compress(&c, TRUE);
  for (int y = 0; y < height; ++y) jpeg_write_scanlines(&c, (row = rgb + 3 * width * y, &row), 1);
  jpeg_finish_compress(&c);
  jpeg_destroy_compress(&c);
}

static void decode(FILE* file, FILE* to) {
  struct jpeg_decompress_struct d;
  struct jpeg_error_mgr errors;
  JSAMPLE buffer[most_width * 3], *row = buffer;
  d.err = jpeg_std_error(&errors);
  jpeg_create_decompress(&d);
  jpeg_stdio_src(&d, file);
  jpeg_read_header(&d, TRUE);
  jpeg_start_decompress(&d);
  fprintf(to, "P%d %u %u 255\n", d.output_components == 3 ? 6 : 5, d.output_width, d.output_height);
  while (d.output_scanline < d.output_height) {
    jpeg_read_scanlines(&d, &row, 1);
    fwrite(buffer, d.output_components, d.output_width, to);
  }
  jpeg_finish_decompress(&d);
  jpeg_destroy_decompress(&d);
}

static FILE* open_file(const char* name, int width, const char* end, const char* mode) {
  char path[100];
  snprintf(path, sizeof path, "%s_%d.%s", name, width, end);
  FILE* file = fopen(path, mode);
  if (!file) exit((perror(path), 1));
  return file;
}

int main(void) {
  static const struct {
    const char* name;
    int grey, h, v, progressive, restart;
  } layouts[] = {
      {"444", 0, 1, 1, 0, 0}, {"422", 0, 2, 1, 0, 0}, {"440", 0, 1, 2, 0, 0},
      {"420", 0, 2, 2, 0, 0}, {"411", 0, 4, 1, 0, 0}, {"410", 0, 4, 2, 0, 0},
      {"grey", 1, 1, 1, 0, 0}, {"420_progressive", 0, 2, 2, 1, 0}, {"422_restarts", 0, 2, 1, 0, 1},
  };
  static const int widths[] = {33, 38};
  for (size_t i = 0; i < sizeof layouts / sizeof *layouts; ++i)
    for (int w = 0; w < 2; ++w) {
      FILE* jpg = open_file(layouts[i].name, widths[w], "jpg", "wb+");
      encode(jpg, widths[w], layouts[i].grey, layouts[i].h, layouts[i].v, layouts[i].progressive, layouts[i].restart);
      rewind(jpg);
      FILE* pixels = open_file(layouts[i].name, widths[w], layouts[i].grey ? "pgm" : "ppm", "wb");
      decode(jpg, pixels);
      fclose(jpg);
      fclose(pixels);
    }
  return 0;
}
