// Decoding and resizing of images, against files made here and numbers worked out by hand.
#include "espalier/data/image.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "data/image_files.h"
#include "espalier/core/random.h"
#include "support/bad_input.h"
#include "support/places.h"

namespace espalier {
namespace {

Image noise(int64_t height, int64_t width, int64_t channels) {
  Image image{height, width, channels, {}};
  for (int64_t i = 0; i < height * width * channels; ++i)
    image.pixels.push_back(static_cast<uint8_t>(random_bits(1, static_cast<uint64_t>(i))));
  return image;
}

std::string image_message(const Bytes& bytes, int64_t max_pixels = 1 << 20) {
  return message_of([&] { decode_image(bytes, "x.jpg", max_pixels); });
}

TEST(DecodeImage, PngOfAnyChannels) {
  for (int64_t channels = 1; channels <= 4; ++channels) {
    const Image image = noise(5, 7, channels), decoded = decode_image(png(image), "x.png");
    EXPECT_EQ(decoded.height, 5);
    EXPECT_EQ(decoded.width, 7);
    EXPECT_EQ(decoded.channels, channels);
    EXPECT_EQ(decoded.pixels, image.pixels);
  }
}

TEST(DecodeImage, Jpeg) {
  const Image decoded = decode_image(jpeg(plain(9, 12, {200, 100, 50})), "x.jpg");
  EXPECT_EQ(decoded.height, 9);
  EXPECT_EQ(decoded.width, 12);
  ASSERT_EQ(decoded.channels, 3);
  for (size_t i = 0; i < decoded.pixels.size(); ++i)
    EXPECT_NEAR(decoded.pixels[i], (std::array{200, 100, 50})[i % 3], 3);
}

Bytes read_all(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A binary .ppm or .pgm: "P6 WIDTH HEIGHT 255\n" and the pixels.
Image netpbm(const Bytes& bytes) {
  std::istringstream text(std::string(bytes.begin(), bytes.end()));
  std::string kind;
  Image image;
  text >> kind >> image.width >> image.height;
  image.channels = kind == "P6" ? 3 : 1;
  image.pixels.assign(bytes.end() - image.height * image.width * image.channels, bytes.end());
  return image;
}

TEST(DecodeImage, JpegsOfEveryLayoutOfColourAreWhatLibjpegMakesOfThem) {
  constexpr int tolerance = 2;  // the two round colours and their interpolation differently
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(source_folder() + "/tests/data/jpeg")) {
    std::filesystem::path path = entry.path();
    if (path.extension() != ".jpg") continue;
    const Image decoded = decode_image(read_all(path), path.filename());
    path.replace_extension(decoded.channels == 3 ? ".ppm" : ".pgm");
    const Image expected = netpbm(read_all(path));
    ASSERT_EQ(decoded.height, expected.height);
    ASSERT_EQ(decoded.width, expected.width);
    ASSERT_EQ(decoded.pixels.size(), expected.pixels.size());
    for (size_t i = 0; i < expected.pixels.size(); ++i)
      ASSERT_NEAR(decoded.pixels[i], expected.pixels[i], tolerance)
          << path << ": column " << static_cast<int64_t>(i) / decoded.channels % decoded.width;
    ++files;
  }
  EXPECT_EQ(files, 18);
}

TEST(DecodeImage, CutShortAnywhere) {
  for (const Bytes& bytes : {png(noise(9, 9, 3)), jpeg(noise(9, 9, 3))})
    for (size_t size = 0; size < bytes.size(); ++size)
      EXPECT_TRUE(
          contains(image_message(Bytes(bytes.begin(), bytes.begin() + static_cast<long>(size))), "x.jpg: "))
          << size << " of " << bytes.size();
}

TEST(DecodeImage, IsNoImage) {
  EXPECT_EQ(image_message({}), "x.jpg: is empty, expected a JPEG, PNG, WebP or BMP image");
  const Bytes gif = {'G', 'I', 'F', '8', '9', 'a', 1, 0, 1, 0, 0, 0, 0};
  EXPECT_EQ(image_message(gif), "x.jpg: is no JPEG, PNG, WebP or BMP");
  EXPECT_EQ(image_message(Bytes{0xFF} + jpeg(noise(9, 9, 3))), "x.jpg: is no JPEG, PNG, WebP or BMP");
  Bytes corrupt = png(noise(9, 9, 3));
  corrupt[50] ^= 0xFF;
  EXPECT_TRUE(contains(image_message(corrupt),
                       "x.jpg: corrupt PNG: the chunk at byte 33 does not have its checksum"));
  Bytes jpg = jpeg(noise(9, 9, 3));
  jpg[200] = 0xFF;  // in the middle of a table
  jpg[201] = 0xFF;
  EXPECT_TRUE(contains(image_message(jpg), "x.jpg: "));
}

/// Where the first segment of this kind is in a JPEG: its 0xFF.
size_t segment(const Bytes& bytes, uint8_t kind) {
  for (size_t at = 2;; at += 2 + (size_t{bytes[at + 2]} << 8 | bytes[at + 3]))
    if (bytes[at + 1] == kind) return at;
}

/// The file without every segment of this kind.
Bytes without_segments(Bytes bytes, uint8_t kind) {
  const size_t scan = segment(bytes, 0xDA);
  for (size_t at = 2, end = scan; at < end;) {
    const size_t size = 2 + (size_t{bytes[at + 2]} << 8 | bytes[at + 3]);
    if (bytes[at + 1] != kind) {
      at += size;
      continue;
    }
    bytes.erase(bytes.begin() + static_cast<long>(at), bytes.begin() + static_cast<long>(at + size));
    end -= size;
  }
  return bytes;
}

TEST(DecodeImage, JpegTablesAreNotBelieved) {
  const Bytes good = jpeg(noise(9, 9, 3));
  EXPECT_EQ(decode_image(without_segments(good, 0xFE), "x.jpg").height, 9);
  EXPECT_TRUE(contains(image_message(without_segments(good, 0xC4)), ": a scan before its Huffman table"));
  EXPECT_TRUE(
      contains(image_message(without_segments(good, 0xDB)), ": a scan before its quantization table"));
  EXPECT_TRUE(
      contains(image_message(without_segments(good, 0xC0)), ": a scan of a component that the frame lacks"));

  Bytes bad = good;
  const size_t huffman = segment(good, 0xC4), frame = segment(good, 0xC0), scan = segment(good, 0xDA);
  bad[huffman + 4 + 16] = 250;
  EXPECT_EQ(image_message(bad), "x.jpg: corrupt JPEG at byte " + std::to_string(huffman + 4) +
                                    ": a Huffman table with too many codes");
  bad = good;
  bad[huffman + 4] = 0x04;
  EXPECT_TRUE(contains(image_message(bad), ": a Huffman table of no such number"));
  bad = good;
  bad[scan + 6] = 0x33;
  EXPECT_TRUE(contains(image_message(bad), ": a scan before its Huffman table"));
  bad = good;
  bad[frame + 4 + 6] = 77;
  EXPECT_TRUE(contains(image_message(bad), ": a scan of a component that the frame lacks"));
  bad = without_end(good, 2) +
        Bytes(good.begin() + static_cast<long>(frame), good.begin() + static_cast<long>(frame + 19)) +
        Bytes{0xFF, 0xD9};
  EXPECT_TRUE(contains(image_message(bad), ": a second frame"));
  bad = good;
  bad[huffman + 2] = 0xFF;
  EXPECT_EQ(image_message(bad),
            "x.jpg: corrupt JPEG at byte " + std::to_string(good.size()) + ": is cut short");
}

TEST(DecodeImage, AJpegWhoseDataEndInTheMiddleOfANumberIsCorrupt) {  // fuzzing has found it
  EXPECT_EQ(image_message(read_all(source_folder() + "/tests/fuzz/corpus/image/data_end_early.jpg")),
            "x.jpg: cannot be decoded: its data end before its last pixel");
}

TEST(DecodeImage, AJpegMayNotClaimMorePixelsThanItsBytesCanBe) {
  Bytes bytes = jpeg(noise(9, 9, 3));
  const size_t frame = segment(bytes, 0xC0);
  bytes[frame + 5] = bytes[frame + 7] = 40;  // 40 * 256 + 9 on both sides: 300 MB
  EXPECT_EQ(image_message(bytes, 1 << 30), "x.jpg: corrupt JPEG at byte " + std::to_string(frame + 4) +
                                               ": claims more pixels than so few bytes can be");
  const Bytes grey = jpeg(plain(800, 800, {7}));  // nothing packs better than what is all alike
  EXPECT_EQ(decode_image(grey, "x.jpg").height, 800);
}

/// The kinds of PNG there are: bits a sample, kind of pixel, samples a pixel.
struct PngKind {
  uint8_t bits, kind;
  int64_t samples;
};
constexpr PngKind png_kinds[] = {{1, 0, 1},  {2, 0, 1}, {4, 0, 1}, {8, 0, 1},  {16, 0, 1}, {8, 2, 3},
                                 {16, 2, 3}, {8, 4, 2}, {8, 6, 4}, {16, 4, 2}, {16, 6, 4}};

Bytes png_chunk(const char* kind, const Bytes& content) {
  const auto number = [](size_t value) {
    return Bytes{static_cast<uint8_t>(value >> 24), static_cast<uint8_t>(value >> 16),
                 static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
  };
  const Bytes checked = Bytes(kind, kind + 4) + content;
  return number(content.size()) + checked + number(crc32_z(0, checked.data(), checked.size()));
}

/// A PNG whose data unpack to `data` zeros, whatever it needs.
Bytes png_of_zeros(uint8_t height, uint8_t width, const PngKind& kind, bool interlaced, size_t data) {
  const Bytes zeros(data);
  uLongf size = compressBound(data);
  Bytes packed(size);
  compress2(packed.data(), &size, zeros.data(), data, 1);
  packed.resize(size);
  const Bytes header{0, 0, 0, width, 0, 0, 0, height, kind.bits, kind.kind, 0, 0, interlaced};
  return Bytes{0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'} + png_chunk("IHDR", header) +
         png_chunk("IDAT", packed) + png_chunk("IEND", {});
}

TEST(DecodeImage, OfAnAnimatedPngTheFirstImage) {
  const Image still = plain(4, 6, {1, 2, 3});
  Bytes bytes = png(still);
  EXPECT_FALSE(decode_image(bytes, "x.png").was_animated);
  const Bytes control = png_chunk("acTL", {0, 0, 0, 2, 0, 0, 0, 0});  // two images, for ever
  bytes.insert(bytes.begin() + 33, control.begin(), control.end());
  EXPECT_TRUE(decode_image(bytes, "x.png").was_animated);
  EXPECT_EQ(decode_image(bytes, "x.png").pixels, still.pixels);
}

/// Bytes of its rows, pixel by pixel: of each of Adam7's seven passes those that hold a pixel.
size_t png_needs(int64_t height, int64_t width, const PngKind& kind, bool interlaced) {
  static constexpr int pass_of[8][8] = {
      {0, 5, 3, 5, 1, 5, 3, 5}, {6, 6, 6, 6, 6, 6, 6, 6}, {4, 5, 4, 5, 4, 5, 4, 5}, {6, 6, 6, 6, 6, 6, 6, 6},
      {2, 5, 3, 5, 2, 5, 3, 5}, {6, 6, 6, 6, 6, 6, 6, 6}, {4, 5, 4, 5, 4, 5, 4, 5}, {6, 6, 6, 6, 6, 6, 6, 6}};
  int64_t bytes = 0;
  for (int64_t y = 0; y < height; ++y) {
    std::array<int64_t, 7> pixels{};
    for (int64_t x = 0; x < width; ++x) ++pixels[interlaced ? pass_of[y % 8][x % 8] : 0];
    for (int64_t count : pixels)
      if (count > 0) bytes += 1 + (count * kind.samples * kind.bits + 7) / 8;
  }
  return static_cast<size_t>(bytes);
}

TEST(DecodeImage, ThePngsDataAreWhatItsHeaderSays) {
  for (const PngKind& kind : png_kinds)
    for (const bool interlaced : {false, true})
      for (const uint8_t height : {1, 3, 4, 5, 9, 16})
        for (const uint8_t width : {1, 2, 3, 4, 5, 8, 17}) {
          const size_t data = png_needs(height, width, kind, interlaced);
          const Image image = decode_image(png_of_zeros(height, width, kind, interlaced, data), "x.png");
          EXPECT_EQ(image.pixels, Bytes(static_cast<size_t>(height * width * kind.samples)));
          EXPECT_TRUE(
              contains(image_message(png_of_zeros(height, width, kind, interlaced, data - 1)), "x.jpg: "));
        }
}

TEST(DecodeImage, APngMayNotUnpackToMoreThanItsHeaderSays) {
  const PngKind rgb{8, 2, 3};
  EXPECT_EQ(image_message(png_of_zeros(16, 16, rgb, false, 16 * 49 + 1)),
            "x.jpg: corrupt PNG: its data unpack to more than the 784 bytes that 16 x 16 pixels need");
  EXPECT_TRUE(
      contains(image_message(png_of_zeros(16, 16, rgb, false, 50'000'000)), "more than the 784 bytes"));
  EXPECT_TRUE(
      contains(image_message(png_of_zeros(16, 16, rgb, true, 50'000'000)), "more than the 798 bytes"));
}

TEST(DecodeImage, LargeOnesAreRefusedBeforeTheyAreDecoded) {
  EXPECT_EQ(image_message(png(noise(9, 12, 1)), 107),
            "x.jpg: is 9 x 12 pixels large, more than the 107 that an image may have");
  EXPECT_EQ(decode_image(png(noise(9, 12, 1)), "x.png", 108).pixels.size(), 108u);
}

Bytes resized(const Image& image, int64_t height, int64_t width) {
  Bytes pixels(static_cast<size_t>(height * width * image.channels));
  resize(image, height, width, pixels.data());
  return pixels;
}

TEST(Resize, SameSizeIsTheSame) {
  const Image image = noise(6, 5, 3);
  EXPECT_EQ(resized(image, 6, 5), image.pixels);
}

TEST(Resize, ByHand) {
  // To half the size each pixel takes four of a row, by 1/8, 3/8, 3/8, 1/8; at an edge three, by 3, 3, 1
  // of 7.
  const Image row{1, 4, 1, {0, 70, 140, 210}};
  const Image rows{4, 4, 1, {0, 70, 140, 210, 0, 70, 140, 210, 0, 70, 140, 210, 0, 70, 140, 210}};
  EXPECT_EQ(resized(rows, 2, 2), (Bytes{50, 160, 50, 160}));
  // To twice the size: 3/4 of the nearer and 1/4 of the farther neighbour.
  const Image two{2, 2, 1, {0, 100, 0, 100}};
  EXPECT_EQ(resized(two, 4, 4), (Bytes{0, 25, 75, 100, 0, 25, 75, 100, 0, 25, 75, 100, 0, 25, 75, 100}));
  const Image turned{2, 2, 1, {0, 0, 100, 100}};
  EXPECT_EQ(resized(turned, 4, 4), (Bytes{0, 0, 0, 0, 25, 25, 25, 25, 75, 75, 75, 75, 100, 100, 100, 100}));
  EXPECT_EQ(resized(row, 1, 1), (Bytes{105}));  // the middle of the row: between 70 and 140
}

TEST(Resize, KeepsTheAspectAndCutsWhatStandsOut) {
  const Image wide{1, 5, 1, {10, 20, 30, 40, 50}};
  EXPECT_EQ(resized(wide, 1, 3), (Bytes{20, 30, 40}));
  const Image tall{5, 1, 1, {10, 20, 30, 40, 50}};
  EXPECT_EQ(resized(tall, 3, 1), (Bytes{20, 30, 40}));
}

TEST(Resize, ChannelsStayApart) {
  const Bytes pixels = resized(plain(100, 37, {255, 0, 9}), 23, 31);
  for (size_t i = 0; i < pixels.size(); ++i) EXPECT_EQ(pixels[i], (std::array{255, 0, 9})[i % 3]);
}

TEST(Resize, ExtremeSizes) {
  EXPECT_EQ(resized(plain(1, 1, {77}), 50, 3), Bytes(150, 77));
  EXPECT_EQ(resized(plain(1000, 1, {77}), 1, 1), Bytes(1, 77));
  EXPECT_EQ(resized(plain(1, 1000, {77}), 9, 2), Bytes(18, 77));
}

}  // namespace
}  // namespace espalier
