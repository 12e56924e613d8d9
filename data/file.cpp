// zlib and liblzma in one class, and room for what they unpack that grows only as far as it may.
#include "espalier/data/file.h"

#include <lzma.h>
#include <zlib.h>

#include <algorithm>
#include <system_error>

#include "espalier/data/bytes.h"
#include "espalier/util/error.h"
#include "espalier/util/input_file.h"
#include "espalier/util/interrupt.h"

namespace espalier {

struct Unpacker::Stream {
  virtual ~Stream() = default;
  virtual size_t read(std::span<uint8_t> into) = 0;
};

namespace {

using Bytes = std::span<const uint8_t>;

constexpr std::string_view gzip_magic = "\x1F\x8B", xz_magic(
                                                        "\xFD"
                                                        "7zXZ\0",
                                                        6);
constexpr size_t max_step = size_t{16}
                            << 20;  // bytes at once: what is read or unpacked till an interrupt is seen

void check_length(size_t size, const std::string& file, size_t max_bytes) {
  ESP_CHECK(size <= max_bytes, file, ": is ", size, " bytes long, more than the ", max_bytes,
            " bytes such a file may have");
}

/// Unpacked bytes as they come, up to a limit. The room goes one byte past the limit, so that a decoder which
/// fills it has said that there is more. It starts at what images commonly unpack to, and doubles.
class Output {
 public:
  Output(const std::string& file, size_t packed, size_t max_bytes)
      : file_(file),
        max_(max_bytes),
        bytes_(std::min(max_bytes + 1, std::max<size_t>(5 * packed, 1 << 12))) {}

  /// Free bytes after those written, at least one.
  std::span<uint8_t> room() {
    if (size_ == bytes_.size()) {
      check_limit();
      bytes_.resize(std::min(max_ + 1, 2 * size_));
    }
    return std::span(bytes_).subspan(size_);
  }
  void wrote(size_t count) { size_ += count; }
  size_t size() const { return size_; }
  /// Lowers the limit to the length that the bytes so far announce.
  void promise(const Length& length) {
    const size_t promised = length.of(Bytes(bytes_).first(length.header));
    if (promised >= max_) return;
    max_ = promised;
    limit_ = "that its header says";
    check_limit();
    bytes_.resize(std::min(max_ + 1, bytes_.size()));
  }
  std::vector<uint8_t> finish() && {
    check_limit();
    bytes_.resize(size_);
    return std::move(bytes_);
  }

 private:
  void check_limit() const {
    ESP_CHECK(size_ <= max_, file_, ": unpacks to more than the ", max_, " bytes ", limit_);
  }

  const std::string& file_;
  size_t max_, size_ = 0;
  const char* limit_ = "that such a file may have";
  std::vector<uint8_t> bytes_;
};

class Plain : public Unpacker::Stream {
 public:
  explicit Plain(Bytes bytes) : left_(bytes) {}

  size_t read(std::span<uint8_t> into) override {
    const size_t count = std::min(into.size(), left_.size());
    std::ranges::copy(left_.first(count), into.begin());
    left_ = left_.subspan(count);
    return count;
  }

 private:
  Bytes left_;
};

class Gzip : public Unpacker::Stream {
 public:
  Gzip(Bytes packed, const std::string& file) : packed_(packed), file_(file) {
    ESP_CHECK(inflateInit2(&stream_, 16 + MAX_WBITS) == Z_OK, file,
              ": out of memory for gzip");  // 16: no zlib
  }
  ~Gzip() override { inflateEnd(&stream_); }

  size_t read(std::span<uint8_t> into) override {
    while (!ended_) {
      ESP_CHECK(at_ < packed_.size(), file_, ": gzip data cut short at byte ", at_, ", after ", unpacked_,
                " unpacked bytes");
      const auto in = static_cast<uInt>(std::min(packed_.size() - at_, max_step));
      const auto out = static_cast<uInt>(std::min(into.size(), max_step));
      stream_.next_in = const_cast<Bytef*>(packed_.data() + at_);
      stream_.avail_in = in;
      stream_.next_out = into.data();
      stream_.avail_out = out;
      const int status = inflate(&stream_, Z_NO_FLUSH);
      at_ += in - stream_.avail_in;
      const size_t count = out - stream_.avail_out;
      unpacked_ += count;
      if (status == Z_STREAM_END)
        end_member();
      else if (status != Z_OK && status != Z_BUF_ERROR)
        fail(file_, status == Z_MEM_ERROR ? ": out of memory for gzip" : ": corrupt gzip data", " at byte ",
             at_);
      if (count > 0) return count;
    }
    return 0;
  }

 private:
  void end_member() {
    ended_ = at_ == packed_.size();
    if (ended_) return;
    ESP_CHECK(starts_with(packed_.subspan(at_), gzip_magic), file_, ": ", packed_.size() - at_,
              " bytes that are not gzip follow its end at byte ", at_);
    inflateReset(&stream_);
  }

  Bytes packed_;
  std::string file_;
  z_stream stream_{};
  size_t at_ = 0, unpacked_ = 0;
  bool ended_ = false;
};

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

class Xz : public Unpacker::Stream {
 public:
  Xz(Bytes packed, const std::string& file) : size_(packed.size()), file_(file) {
    constexpr uint64_t max_memory = uint64_t{128} << 20;  // `xz -9` needs 65 MiB
    ESP_CHECK(lzma_stream_decoder(&stream_, max_memory, LZMA_CONCATENATED) == LZMA_OK, file,
              ": out of memory for xz");
    stream_.next_in = packed.data();
    stream_.avail_in = packed.size();
  }
  ~Xz() override { lzma_end(&stream_); }

  size_t read(std::span<uint8_t> into) override {
    while (!ended_) {
      const size_t out = std::min(into.size(), max_step);
      stream_.next_out = into.data();
      stream_.avail_out = out;
      const lzma_ret status = lzma_code(&stream_, LZMA_FINISH);
      const size_t count = out - stream_.avail_out;
      unpacked_ += count;
      ended_ = status == LZMA_STREAM_END;
      if (status == LZMA_BUF_ERROR)
        fail(file_, ": xz data cut short at byte ", size_, ", after ", unpacked_, " unpacked bytes");
      if (status != LZMA_OK && !ended_)
        fail(file_, ": xz data cannot be unpacked at byte ", size_ - stream_.avail_in, ": ",
             lzma_message(status));
      if (count > 0) return count;
    }
    return 0;
  }

 private:
  size_t size_;
  std::string file_;
  lzma_stream stream_ = LZMA_STREAM_INIT;
  size_t unpacked_ = 0;
  bool ended_ = false;
};

bool is_packed(Bytes bytes) { return starts_with(bytes, gzip_magic) || starts_with(bytes, xz_magic); }

}  // namespace

Unpacker::Unpacker(Bytes packed, const std::string& file) {
  if (starts_with(packed, gzip_magic))
    stream_ = std::make_unique<Gzip>(packed, file);
  else if (starts_with(packed, xz_magic))
    stream_ = std::make_unique<Xz>(packed, file);
  else
    stream_ = std::make_unique<Plain>(packed);
}
Unpacker::~Unpacker() = default;

size_t Unpacker::read(std::span<uint8_t> into) {
  stop_if_interrupted();
  return stream_->read(into);
}

std::optional<std::filesystem::path> find_plain_or_compressed(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::optional<fs::path> other;
  for (const char* suffix : {"", ".gz", ".xz"}) {
    fs::path candidate = path;
    candidate += suffix;
    std::error_code error;
    if (fs::is_regular_file(candidate, error)) return candidate;
    const fs::file_status there = fs::symlink_status(candidate, error);
    ESP_CHECK(there.type() != fs::file_type::none, candidate.string(),
              ": cannot be looked for: ", error.message());
    if (fs::exists(there) && !other) other = candidate;
  }
  return other;
}

std::vector<uint8_t> unpack(std::vector<uint8_t> bytes, const std::string& file, size_t max_bytes,
                            const Length& length) {
  if (!is_packed(bytes)) {
    check_length(bytes.size(), file, max_bytes);
    return bytes;
  }
  Unpacker from(bytes, file);
  Output output(file, bytes.size(), max_bytes);
  bool promised = !length.of;
  while (const size_t count = from.read(output.room())) {
    output.wrote(count);
    if (promised || output.size() < length.header) continue;
    output.promise(length);
    promised = true;
  }
  return std::move(output).finish();
}

std::vector<uint8_t> read_bytes(const std::filesystem::path& path, size_t max_bytes) {
  const InputFile file(path);
  check_length(file.size(), path.string(), max_bytes);
  std::vector<uint8_t> bytes(file.size());
  for (size_t at = 0; at < bytes.size(); at += max_step) {
    stop_if_interrupted();
    file.read(bytes.data() + at, std::min(max_step, bytes.size() - at), at);
  }
  return bytes;
}

std::vector<uint8_t> read_unpacked(const std::filesystem::path& path, size_t max_bytes,
                                   const Length& length) {
  return unpack(read_bytes(path, max_bytes), path.string(), max_bytes, length);
}

}  // namespace espalier
