// PNG: chunks (W3C PNG, 5.3). JPEG: segments and their tables (ITU-T T.81, annex B). BMP: its header. WebP is
// left to libwebp, which checks what it reads.
#include "espalier/data/image_check.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <cstdlib>
#include <numeric>
#include <vector>

#include "espalier/data/bytes.h"
#include "espalier/util/error.h"

namespace espalier {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr std::string_view png_signature = "\x89PNG\r\n\x1A\n";
constexpr uint32_t png_first = 0x49484452;  // IHDR,
constexpr size_t png_header = 13;           // and how many bytes it has

/// What the segments so far have defined.
class Jpeg {
 public:
  Jpeg(Bytes bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  JpegInks check() {
    constexpr uint8_t end_of_image = 0xD9;
    for (size_t at = 2;;) {
      at = marker(at);
      const uint8_t kind = bytes_[at++];
      if (kind == end_of_image) break;
      require(bytes_.size() - at >= 2, "is cut short", bytes_.size());
      const size_t length = big_endian(bytes_, at, 2);
      require(length >= 2, "a segment without a length", at);
      require(length <= bytes_.size() - at, "is cut short", bytes_.size());
      segment(kind, bytes_.subspan(at + 2, length - 2), at + 2);
      at += length;
    }
    for (const Component& component : components_)
      require(component.has_scan, "a component without a scan", bytes_.size());
    require(min_bits() <= 8 * bytes_.size(), "claims more pixels than so few bytes can be", frame_at_);
    if (components_.size() != 4) return JpegInks::none;
    return adobe_ ? JpegInks::adobe : JpegInks::unmarked;
  }

 private:
  struct Component {
    uint8_t id, horizontal, vertical, quantization;  ///< its name, samples in a unit of the frame, table
    bool has_scan = false;
  };

  void require(bool holds, const char* otherwise, size_t at) const {
    ESP_CHECK(holds, file_, ": corrupt JPEG at byte ", at, ": ", otherwise);
  }

  /// The byte of the next marker. Zeros and restarts after 0xFF belong to the data of a scan.
  size_t marker(size_t at) const {
    while (true) {
      while (at < bytes_.size() && bytes_[at] != 0xFF) ++at;
      while (at < bytes_.size() && bytes_[at] == 0xFF) ++at;
      require(at < bytes_.size(), "is cut short", bytes_.size());
      const uint8_t kind = bytes_[at];
      if (kind != 0 && !(kind >= 0xD0 && kind <= 0xD7)) return at;
    }
  }

  void segment(uint8_t kind, Bytes content, size_t at) {
    if (kind == 0xC4) huffman(content, at);
    if (kind == 0xDB) quantization(content, at);
    if (kind == 0xDA) scan(content, at);
    if (kind == 0xC0 || kind == 0xC1 || kind == 0xC2) frame(kind, content, at);
    if (kind == 0xEE && content.size() >= 12 && starts_with(content, "Adobe")) adobe_ = true;
  }

  /// Tables of a byte (class and number), 16 counts of codes by length, and a value a code.
  void huffman(Bytes content, size_t at) {
    while (!content.empty()) {
      require(content.size() >= 17, "a Huffman table that is cut short", at);
      const size_t kind = content[0] >> 4, number = content[0] & 15;
      const size_t codes = std::accumulate(content.begin() + 1, content.begin() + 17, size_t{0});
      require(kind < 2 && number < 4, "a Huffman table of no such number", at);
      require(codes <= 256 && 17 + codes <= content.size(), "a Huffman table with too many codes", at);
      huffman_[kind].set(number);
      content = content.subspan(17 + codes);
      at += 17 + codes;
    }
  }

  /// Tables of a byte (precision and number) and 64 entries.
  void quantization(Bytes content, size_t at) {
    while (!content.empty()) {
      const size_t precision = content[0] >> 4, number = content[0] & 15, size = 1 + 64 * (1 + precision);
      require(precision < 2 && number < 4 && size <= content.size(), "a quantization table that is broken",
              at);
      quantization_.set(number);
      content = content.subspan(size);
      at += size;
    }
  }

  void frame(uint8_t kind, Bytes content, size_t at) {
    constexpr uint8_t progressive = 0xC2;
    require(components_.empty(), "a second frame", at);
    require(content.size() >= 6 && content[5] >= 1 && content.size() == 6 + 3 * size_t{content[5]},
            "a frame of another length than its components need", at);
    progressive_ = kind == progressive;
    frame_at_ = at;
    height_ = big_endian(content, 1, 2);
    width_ = big_endian(content, 3, 2);
    for (size_t i = 6; i < content.size(); i += 3) {
      require(content[i + 2] < 4, "a quantization table of no such number", at + i + 2);
      for (const Component& other : components_)
        require(other.id != content[i], "two components of one name", at + i);
      const uint8_t horizontal = content[i + 1] >> 4, vertical = content[i + 1] & 15;
      require(horizontal >= 1 && horizontal <= 4 && vertical >= 1 && vertical <= 4,
              "a component of no such sampling", at + i + 1);
      components_.push_back({content[i], horizontal, vertical, content[i + 2]});
    }
  }

  /// What the frame's blocks need at least: a code of one bit for the first coefficient, and, where it is not
  /// progressive, one for the others.
  size_t min_bits() const {
    const auto largest = [&](uint8_t Component::*sampling) {
      return size_t{(*std::ranges::max_element(components_, {}, sampling)).*sampling};
    };
    const auto blocks = [](size_t samples, size_t part, size_t max_part) {
      return ((samples * part + max_part - 1) / max_part + 7) / 8;
    };
    size_t bits = 0;
    for (const Component& c : components_)
      bits += blocks(width_, c.horizontal, largest(&Component::horizontal)) *
              blocks(height_, c.vertical, largest(&Component::vertical)) * (progressive_ ? 1 : 2);
    return bits;
  }

  /// A scan names its components, each with its Huffman tables, and which coefficients it holds.
  void scan(Bytes content, size_t at) {
    require(!content.empty() && content.size() == 4 + 2 * size_t{content[0]},
            "a scan of another length than "
            "its components need",
            at);
    const uint8_t first = content[content.size() - 3], refines = content.back() >> 4;
    const bool direct = !progressive_ || first == 0, alternating = !progressive_ || first > 0;
    for (size_t i = 1; i + 3 < content.size(); i += 2) {
      const auto found = std::ranges::find(components_, content[i], &Component::id);
      require(found != components_.end(), "a scan of a component that the frame lacks", at + i);
      const size_t dc = content[i + 1] >> 4, ac = content[i + 1] & 15;
      require(dc < 4 && ac < 4, "a Huffman table of no such number", at + i + 1);
      require((!direct || refines || huffman_[0][dc]) && (!alternating || huffman_[1][ac]),
              "a scan before its Huffman table", at);
      require(quantization_[found->quantization], "a scan before its quantization table", at);
      require(found->has_scan || (direct && !refines), "a scan that refines what no scan has begun", at);
      found->has_scan = true;
    }
  }

  Bytes bytes_;
  const std::string& file_;
  std::array<std::bitset<4>, 2> huffman_;  ///< defined so far: DC, AC
  std::bitset<4> quantization_;
  bool progressive_ = false, adobe_ = false;
  size_t frame_at_ = 0, height_ = 0, width_ = 0;
  std::vector<Component> components_;
};

/// Bytes of the rows of a PNG by its header's content: width, height, bits a sample, kind of pixel, and, at
/// the end, whether it is interlaced. Numbers that do not exist are left to the decoder.
size_t png_data(Bytes header) {
  const auto width = size_t{big_endian(header, 0, 4)}, height = size_t{big_endian(header, 4, 4)};
  constexpr std::array<size_t, 7> samples = {1, 0, 3, 1, 2, 0, 4};
  const size_t bits = header[8] * samples[std::min<size_t>(header[9], 6)];
  struct Pass {
    size_t x, y, dx, dy;  // its first pixel, and the steps to the next
  };
  constexpr Pass only_pass[] = {{0, 0, 1, 1}};
  constexpr Pass adam7[] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                            {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
  size_t bytes = 0;
  for (const Pass& pass : header[12] ? std::span<const Pass>(adam7) : only_pass) {
    const size_t columns = (width - std::min(width, pass.x) + pass.dx - 1) / pass.dx;
    const size_t rows = (height - std::min(height, pass.y) + pass.dy - 1) / pass.dy;
    if (columns > 0) bytes += rows * (1 + (columns * bits + 7) / 8);
  }
  return bytes;
}

}  // namespace

std::optional<ImageFormat> image_format(Bytes beginning) {
  if (starts_with(beginning, "\xFF\xD8")) return ImageFormat::jpeg;
  if (starts_with(beginning, png_signature)) return ImageFormat::png;
  if (starts_with(beginning, "RIFF") && beginning.size() >= 12 && starts_with(beginning.subspan(8), "WEBP"))
    return ImageFormat::webp;
  if (starts_with(beginning, "BM")) return ImageFormat::bmp;
  return std::nullopt;
}

std::optional<size_t> most_image_bytes(Bytes beginning) {
  constexpr size_t max_others = size_t{16} << 20, max_packed = size_t{1} << 28;
  const auto format = image_format(beginning);
  if (!format) return std::nullopt;
  if (format == ImageFormat::bmp) return 2 * max_packed + max_others;  // 2^27 pixels of four bytes
  if (format != ImageFormat::png) return max_packed;
  // Apple's have a small chunk before the header. What cannot be packed becomes longer, by a hundredth at
  // most.
  for (size_t at = png_signature.size(); at <= 32 && beginning.size() >= at + 8 + png_header; at += 16) {
    if (big_endian(beginning, at + 4, 4) != png_first) continue;
    constexpr size_t max_data = size_t{9} << 27;  // of 2^27 pixels, which decode_image takes, 64 bits each
    const size_t data = std::min(png_data(beginning.subspan(at + 8, png_header)), max_data);
    return data + data / 100 + max_others;
  }
  return max_others;
}

std::optional<PngContent> check_png(Bytes bytes, const std::string& file) {
  constexpr size_t around = 12;  // bytes of a chunk that are not its content: length, type, CRC
  constexpr uint32_t last = 0x49454E44, animation = 0x6163544C;  // IEND, acTL
  if (!starts_with(bytes, png_signature)) return std::nullopt;
  PngContent png;
  for (size_t at = png_signature.size();;) {
    const size_t left = bytes.size() - at;
    const size_t content = left < around ? 0 : big_endian(bytes, at, 4);
    ESP_CHECK(left >= around && content <= left - around, file, ": PNG cut short at byte ", bytes.size());
    const uLong crc = crc32_z(0, bytes.data() + at + 4, content + 4);
    ESP_CHECK(crc == big_endian(bytes, at + 8 + content, 4), file, ": corrupt PNG: the chunk at byte ", at,
              " does not have its checksum");
    const uint32_t kind = big_endian(bytes, at + 4, 4);
    if (kind == png_first && content == png_header) png.data = png_data(bytes.subspan(at + 8, png_header));
    if (kind == animation) png.animated = true;
    if (kind == last) return png;
    at += around + content;
  }
}

JpegInks check_jpeg(Bytes bytes, const std::string& file) { return Jpeg(bytes, file).check(); }

void check_bmp(Bytes bytes, const std::string& file) {
  const auto require = [&](bool holds, const char* otherwise) {
    ESP_CHECK(holds, file, ": corrupt BMP: ", otherwise);
  };
  constexpr size_t before = 14;  // bytes of the file's header, before that of the image
  require(bytes.size() >= before + 12, "is cut short");
  const size_t offset = little_endian(bytes, 10, 4), header = little_endian(bytes, before, 4);
  const bool old = header == 12;  // of OS/2
  require(old || header >= 40, "a header of no such length");
  require(header <= bytes.size() - before && offset >= before + header && offset <= bytes.size(),
          "is cut short, or its pixels lie in its header");
  const size_t side = old ? 2 : 4;
  const size_t width = little_endian(bytes, before + 4, side);
  const auto height = static_cast<int32_t>(little_endian(bytes, before + 4 + side, side));
  const size_t bits = little_endian(bytes, before + 6 + 2 * side, 2);
  const size_t compression = old ? 0 : little_endian(bytes, before + 16, 4);
  ESP_CHECK(compression == 0 || compression == 3, file,
            ": is a BMP with compression, which is not supported");
  require(bits == 1 || bits == 4 || bits == 8 || bits == 16 || bits == 24 || bits == 32,
          "a pixel of no such number of bits");
  constexpr size_t max_side = 1 << 24;  // as of stb_image
  const auto rows = static_cast<size_t>(std::abs(int64_t{height}));
  require(width >= 1 && width <= max_side && rows >= 1 && rows <= max_side, "a side of no such length");
  require((width * bits + 31) / 32 * 4 * rows <= bytes.size() - offset, "is cut short");
}

}  // namespace espalier
