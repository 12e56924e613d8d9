// zlib and liblzma behind one function, with room that grows only as far as the caller allows.
#include "espalier/data/file.h"

#include <lzma.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <span>
#include <system_error>

#include "espalier/core/error.h"
#include "espalier/core/interrupt.h"

namespace espalier {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr uint8_t gzip_magic[] = {0x1F, 0x8B};
constexpr uint8_t xz_magic[] = {0xFD, '7', 'z', 'X', 'Z', 0x00};
constexpr size_t most_step = size_t{16}
                             << 20;  // bytes at once: what is read or unpacked till an interrupt is seen

void check_length(size_t size, const std::string& file, size_t most_bytes) {
  ESP_CHECK(size <= most_bytes, file, ": is ", size, " bytes long, more than the ", most_bytes,
            " bytes such a file may have");
}

bool starts_with(Bytes bytes, Bytes magic) {
  return bytes.size() >= magic.size() && std::equal(magic.begin(), magic.end(), bytes.begin());
}

/// Unpacked bytes as they come, up to a limit. The room goes one byte past the limit, so that a decoder which
/// fills it has said that there is more. It starts at what images commonly unpack to, and doubles.
class Output {
 public:
  Output(const std::string& file, size_t packed, size_t most)
      : file_(file), most_(most), bytes_(std::min(most + 1, std::max<size_t>(5 * packed, 1 << 12))) {}

  /// Free bytes behind those written, at least one.
  std::span<uint8_t> room() {
    if (size_ == bytes_.size()) {
      check_limit();
      bytes_.resize(std::min(most_ + 1, 2 * size_));
    }
    return std::span(bytes_).subspan(size_);
  }
  void wrote(size_t count) { size_ += count; }
  size_t size() const { return size_; }
  std::vector<uint8_t> finish() && {
    check_limit();
    bytes_.resize(size_);
    return std::move(bytes_);
  }

 private:
  void check_limit() const {
    ESP_CHECK(size_ <= most_, file_, ": unpacks to more than the ", most_, " bytes such a file may have");
  }

  const std::string& file_;
  size_t most_, size_ = 0;
  std::vector<uint8_t> bytes_;
};

std::vector<uint8_t> unpack_gzip(Bytes packed, const std::string& file, size_t most_bytes) {
  z_stream stream{};
  ESP_CHECK(inflateInit2(&stream, 16 + MAX_WBITS) == Z_OK, file,
            ": out of memory for gzip");  // 16: gzip alone
  const std::unique_ptr<z_stream, decltype(&inflateEnd)> closer(&stream, &inflateEnd);
  Output output(file, packed.size(), most_bytes);
  size_t position = 0;
  while (position < packed.size()) {
    stop_if_interrupted();
    const auto room = output.room();
    const auto in = static_cast<uInt>(std::min(packed.size() - position, most_step));
    const auto out = static_cast<uInt>(std::min(room.size(), most_step));
    stream.next_in = const_cast<Bytef*>(packed.data() + position);
    stream.avail_in = in;
    stream.next_out = room.data();
    stream.avail_out = out;
    const int status = inflate(&stream, Z_NO_FLUSH);
    position += in - stream.avail_in;
    output.wrote(out - stream.avail_out);
    if (status == Z_STREAM_END) {
      if (position == packed.size()) return std::move(output).finish();
      ESP_CHECK(starts_with(packed.subspan(position), gzip_magic), file, ": ", packed.size() - position,
                " bytes that are not gzip follow its end at byte ", position);
      inflateReset(&stream);
    } else if (status != Z_OK && status != Z_BUF_ERROR) {
      fail(file, status == Z_MEM_ERROR ? ": out of memory for gzip" : ": corrupt gzip data", " at byte ",
           position);
    }
  }
  fail(file, ": gzip data cut short at byte ", packed.size(), ", after ", output.size(), " unpacked bytes");
}

const char* lzma_message(lzma_ret status) {
  switch (status) {
    case LZMA_MEM_ERROR:
      return "out of memory";
    case LZMA_MEMLIMIT_ERROR:
      return "its dictionary is too large";
    case LZMA_OPTIONS_ERROR:
      return "an option this liblzma does not know";
    case LZMA_DATA_ERROR:
      return "a block, a checksum or what follows the end is wrong";
    default:
      return "unexpected state";
  }
}

std::vector<uint8_t> unpack_xz(Bytes packed, const std::string& file, size_t most_bytes) {
  constexpr uint64_t most_memory = uint64_t{128} << 20;  // `xz -9` needs 65 MiB
  lzma_stream stream = LZMA_STREAM_INIT;
  ESP_CHECK(lzma_stream_decoder(&stream, most_memory, LZMA_CONCATENATED) == LZMA_OK, file,
            ": out of memory for xz");
  const std::unique_ptr<lzma_stream, decltype(&lzma_end)> closer(&stream, &lzma_end);
  Output output(file, packed.size(), most_bytes);
  stream.next_in = packed.data();
  stream.avail_in = packed.size();
  while (true) {
    stop_if_interrupted();
    const auto room = output.room().first(std::min(output.room().size(), most_step));
    stream.next_out = room.data();
    stream.avail_out = room.size();
    const lzma_ret status = lzma_code(&stream, LZMA_FINISH);
    output.wrote(room.size() - stream.avail_out);
    if (status == LZMA_STREAM_END) return std::move(output).finish();
    if (status == LZMA_BUF_ERROR)
      fail(file, ": xz data cut short at byte ", packed.size(), ", after ", output.size(), " unpacked bytes");
    if (status != LZMA_OK)
      fail(file, ": xz data cannot be unpacked at byte ", packed.size() - stream.avail_in, ": ",
           lzma_message(status));
  }
}

}  // namespace

std::optional<std::filesystem::path> find_plain_or_compressed(const std::filesystem::path& path) {
  for (const char* suffix : {"", ".gz", ".xz"}) {
    std::filesystem::path candidate = path;
    candidate += suffix;
    std::error_code ignored;
    if (std::filesystem::exists(candidate, ignored)) return candidate;
  }
  return std::nullopt;
}

std::vector<uint8_t> unpack(std::vector<uint8_t> bytes, const std::string& file, size_t most_bytes) {
  if (starts_with(bytes, gzip_magic)) return unpack_gzip(bytes, file, most_bytes);
  if (starts_with(bytes, xz_magic)) return unpack_xz(bytes, file, most_bytes);
  check_length(bytes.size(), file, most_bytes);
  return bytes;
}

std::vector<uint8_t> read_bytes(const std::filesystem::path& path, size_t most_bytes) {
  const std::string file = path.string();
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);  // fails for what is no regular file
  ESP_CHECK(!error, file, ": cannot read: ", error.message());
  check_length(size, file, most_bytes);
  const auto cause = [] { return std::generic_category().message(errno); };
  const std::unique_ptr<std::FILE, decltype(&std::fclose)> stream(std::fopen(path.c_str(), "rbe"),
                                                                  &std::fclose);
  ESP_CHECK(stream, file, ": cannot open: ", cause());
  std::vector<uint8_t> bytes(size);
  size_t got = 0;
  for (size_t step = 1; step > 0; got += step) {
    stop_if_interrupted();
    step = std::fread(bytes.data() + got, 1, std::min(size - got, most_step), stream.get());
  }
  ESP_CHECK(!std::ferror(stream.get()), file, ": cannot read: ", cause());
  ESP_CHECK(got == size, file, ": ends at byte ", got, ", ", size, " were there when it was opened");
  return bytes;
}

std::vector<uint8_t> read_unpacked(const std::filesystem::path& path, size_t most_bytes) {
  return unpack(read_bytes(path, most_bytes), path.string(), most_bytes);
}

}  // namespace espalier
