#include "espalier/prune/compensate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "espalier/core/parallel.h"

namespace espalier {
namespace {

constexpr int64_t columns_at_once = 128;

/// The `count` lowest of `candidates`, by score and then by place, go.
void drop_lowest(LayerToSolve& layer, std::vector<int64_t>& candidates, const std::vector<double>& scores,
                 int64_t count) {
  const auto lower = [&](int64_t a, int64_t b) {
    const double x = scores[static_cast<size_t>(a)], y = scores[static_cast<size_t>(b)];
    return x < y || (x == y && a < b);
  };
  count = std::min(count, static_cast<int64_t>(candidates.size()));
  std::nth_element(candidates.begin(), candidates.begin() + std::max<int64_t>(count - 1, 0), candidates.end(),
                   lower);
  for (int64_t i = 0; i < count; ++i) layer.kept[static_cast<size_t>(candidates[static_cast<size_t>(i)])] = 0;
}

/// Of A [n,n], whose lower triangle is read and overwritten, z becomes A^-1 z, by Cholesky's A = L L'.
void solve_symmetric(double* a, double* z, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    double* const row = a + i * n;
    for (int64_t j = 0; j < i; ++j) {
      const double* const other = a + j * n;
      double sum = row[j];
      for (int64_t k = 0; k < j; ++k) sum -= row[k] * other[k];
      row[j] = sum / other[j];
    }
    double sum = row[i];
    for (int64_t k = 0; k < i; ++k) sum -= row[k] * row[k];
    ESP_CHECK(sum > 0, "prune: the Fisher information has no inverse; a larger damping helps");
    row[i] = std::sqrt(sum);
  }
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t k = 0; k < i; ++k) z[i] -= a[i * n + k] * z[k];
    z[i] /= a[i * n + i];
  }
  for (int64_t i = n - 1; i >= 0; --i) {
    for (int64_t k = i + 1; k < n; ++k) z[i] -= a[k * n + i] * z[k];
    z[i] /= a[i * n + i];
  }
}

/// A layer on its way through its columns.
class Columns {
 public:
  explicit Columns(LayerToSolve& layer)
      : layer_(layer),
        line_(std::ssize(layer.line)),
        groups_(static_cast<int64_t>(layer.matrices.values.size()) / (layer.inputs * layer.inputs)),
        scores_(layer.w.size()) {
    const auto n = static_cast<int64_t>(layer.kept.size());
    const int64_t before = std::count(layer.before.begin(), layer.before.end(), 1);
    free_ = n - before;
    to_go_ = std::count(layer.kept.begin(), layer.kept.end(), 0) - before;
    for (size_t i = 0; i < layer.kept.size(); ++i) layer.kept[i] = !layer.before[i];
  }

  void solve() {
    for (int64_t first = 0; first < layer_.inputs; first = end_of(first)) {
      const int64_t end = end_of(first);
      if (layer_.unit.kind != Unit::n_of_m) choose(first, end);
      std::vector<double> errors(static_cast<size_t>(layer_.outputs * (end - first)));
      parallel_for(layer_.outputs, 1, [&](int64_t begin, int64_t last) {
        for (int64_t row = begin; row < last; ++row)
          solve_row(row, first, end, errors.data() + row * (end - first));
      });
    }
  }

 private:
  /// Of the columns that are solved together; no group of n:m is divided.
  int64_t end_of(int64_t first) const {
    int64_t end = std::min(layer_.inputs, first + columns_at_once);
    if (layer_.unit.kind == Unit::n_of_m)
      while (end < layer_.inputs && end % line_ % layer_.unit.m != 0) ++end;
    return end;
  }
  const double* u(int64_t row, int64_t column) const {
    const int64_t group = row * groups_ / layer_.outputs;
    return layer_.matrices.values.data() + (group * layer_.inputs + column) * layer_.inputs;
  }
  /// What no input was ever other than 0 for is worth nothing.
  double score(int64_t row, int64_t column) const {
    const auto& silent = layer_.matrices.silent;
    if (!silent.empty() &&
        silent[static_cast<size_t>(row * groups_ / layer_.outputs * layer_.inputs + column)])
      return 0;
    const double ratio = layer_.w[static_cast<size_t>(row * layer_.inputs + column)] / u(row, column)[column];
    return ratio * ratio;
  }

  /// Of the weights of columns first..end as they are now, as many go as keeps the layer's share.
  void choose(int64_t first, int64_t end) {
    std::vector<int64_t> candidates;
    for (int64_t row = 0; row < layer_.outputs; ++row)
      for (int64_t column = first; column < end; ++column) {
        const int64_t at = row * layer_.inputs + column;
        if (layer_.before[static_cast<size_t>(at)]) continue;
        scores_[static_cast<size_t>(at)] = score(row, column);
        candidates.push_back(at);
      }
    seen_ += static_cast<int64_t>(candidates.size());
    const double share = free_ ? static_cast<double>(to_go_) / static_cast<double>(free_) : 0;
    const int64_t by_now = seen_ == free_ ? to_go_ : std::llround(share * static_cast<double>(seen_));
    drop_lowest(layer_, candidates, scores_, by_now - gone_);
    gone_ = by_now;
  }

  /// n of the m columns from `column` on stay in a row; of fewer at a line's end as if zeros filled it up.
  void choose_in_line(int64_t row, int64_t column) {
    const int64_t end = std::min(column + layer_.unit.m, column - column % line_ + line_);
    std::vector<int64_t> candidates;
    int64_t go = std::max<int64_t>(0, end - column - layer_.unit.n);
    for (int64_t c = column; c < end; ++c) {
      const int64_t at = row * layer_.inputs + c;
      if (layer_.before[static_cast<size_t>(at)]) {
        --go;
        continue;
      }
      scores_[static_cast<size_t>(at)] = score(row, c);
      candidates.push_back(at);
    }
    if (go > 0) drop_lowest(layer_, candidates, scores_, go);
  }

  void solve_row(int64_t row, int64_t first, int64_t end, double* errors) {
    double* const w = layer_.w.data() + row * layer_.inputs;
    const uint8_t* const kept = layer_.kept.data() + row * layer_.inputs;
    for (int64_t j = first; j < end; ++j) {
      if (layer_.unit.kind == Unit::n_of_m && j % line_ % layer_.unit.m == 0) choose_in_line(row, j);
      if (kept[j]) continue;
      const double* const line = u(row, j);
      const double error = w[j] / line[j];
      errors[j - first] = error;
      for (int64_t l = j; l < end; ++l) w[l] -= error * line[l];
      w[j] = 0;
    }
    for (int64_t j = first; j < end; ++j) {
      const double error = errors[j - first];
      if (error == 0) continue;
      const double* const line = u(row, j);
      for (int64_t l = end; l < layer_.inputs; ++l) w[l] -= error * line[l];
    }
  }

  LayerToSolve& layer_;
  int64_t line_, groups_;
  std::vector<double> scores_;
  int64_t free_, to_go_, seen_ = 0, gone_ = 0;
};

}  // namespace

// What stays moves by -M_PQ M_QQ^-1 w_Q, M = F^-1 of the block, Q what goes and P what stays: with M_QQ = L
// L', y = L^-1 w_Q and z = L^-T y that is -M_PQ z.
void solve_blocks(LayerToSolve& layer) {
  const int64_t size = layer.matrices.size, n = static_cast<int64_t>(layer.w.size());
  const int64_t blocks = (n + size - 1) / size;
  parallel_for(blocks, 1, [&](int64_t begin, int64_t end) {
    std::vector<int64_t> go;
    std::vector<double> l, z;
    for (int64_t b = begin; b < end; ++b) {
      double* const w = layer.w.data() + b * size;
      const uint8_t* const kept = layer.kept.data() + b * size;
      const double* const inverse = layer.matrices.values.data() + b * size * size;
      const int64_t length = std::min(size, n - b * size);
      go.clear();
      z.clear();
      for (int64_t q = 0; q < length; ++q)
        if (!kept[q]) {
          go.push_back(q);
          z.push_back(w[q]);
          w[q] = 0;
        }
      const auto count = static_cast<int64_t>(go.size());
      if (count == length || std::ranges::all_of(z, [](double x) { return x == 0; })) continue;
      l.assign(static_cast<size_t>(count * count), 0.0);
      for (int64_t i = 0; i < count; ++i)
        for (int64_t j = 0; j <= i; ++j)
          l[static_cast<size_t>(i * count + j)] =
              inverse[go[static_cast<size_t>(i)] * size + go[static_cast<size_t>(j)]];
      solve_symmetric(l.data(), z.data(), count);
      for (int64_t p = 0; p < length; ++p) {
        if (!kept[p]) continue;
        for (int64_t i = 0; i < count; ++i)
          w[p] -= inverse[p * size + go[static_cast<size_t>(i)]] * z[static_cast<size_t>(i)];
      }
    }
  });
}

void solve_columns(LayerToSolve& layer) {
  const auto place = [&](size_t i) { return in_memory(i, layer.line); };
  std::vector<double> w(layer.w.size());
  std::vector<uint8_t> kept(w.size());
  std::vector<char> before(w.size());
  for (size_t i = 0; i < w.size(); ++i) {
    w[i] = layer.w[place(i)];
    kept[i] = layer.kept[place(i)];
    before[i] = layer.before[place(i)];
  }
  LayerToSolve by_columns{w,          kept,       before,        layer.outputs, layer.inputs,
                          layer.line, layer.unit, layer.matrices};
  Columns(by_columns).solve();
  for (size_t i = 0; i < w.size(); ++i) {
    layer.w[place(i)] = w[i];
    layer.kept[place(i)] = kept[i];
  }
}

// With the order of rows and columns turned round, H = L L' becomes H = R R', R upper triangular; so H^-1 is
// R^-1' R^-1, and U is R^-1. Both are found from the last row and column on.
void factor_of_inverse(double* h, int64_t size, double damping) {
  double mean = 0;
  for (int64_t i = 0; i < size; ++i) {
    double& diagonal = h[i * size + i];
    if (diagonal == 0) diagonal = 1;
    mean += diagonal / static_cast<double>(size);
  }
  for (int64_t i = 0; i < size; ++i) h[i * size + i] += damping * mean;
  // R, in place: R_ij = (H_ij - sum over k > j of R_ik R_jk) / R_jj for i < j.
  for (int64_t j = size - 1; j >= 0; --j) {
    const double* const row_j = h + j * size;
    double sum = row_j[j];
    for (int64_t k = j + 1; k < size; ++k) sum -= row_j[k] * row_j[k];
    ESP_CHECK(sum > 0, "prune: the products of a layer's inputs have no inverse; a larger damping helps");
    const double diagonal = std::sqrt(sum);
    h[j * size + j] = diagonal;
    parallel_for(j, std::max<int64_t>(1, 32768 / std::max<int64_t>(1, size - j)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i) {
                     double* const row_i = h + i * size;
                     double rest = row_i[j];
                     for (int64_t k = j + 1; k < size; ++k) rest -= row_i[k] * row_j[k];
                     row_i[j] = rest / diagonal;
                   }
                 });
  }
  // U = R^-1, row by row from the last: U_i = (e_i - sum over k > i of R_ik U_k) / R_ii.
  std::vector<double> row(static_cast<size_t>(size));
  for (int64_t i = size - 1; i >= 0; --i) {
    double* const r = h + i * size;
    std::fill(row.begin(), row.end(), 0.0);
    row[static_cast<size_t>(i)] = 1;
    parallel_for(size - i - 1, std::max<int64_t>(64, 32768 / std::max<int64_t>(1, size - i)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t k = i + 1; k < size; ++k)
                     for (int64_t j = std::max(k, i + 1 + begin); j < i + 1 + end; ++j)
                       row[static_cast<size_t>(j)] -= r[k] * h[k * size + j];
                 });
    const double diagonal = r[i];
    for (int64_t j = 0; j < size; ++j) r[j] = j < i ? 0 : row[static_cast<size_t>(j)] / diagonal;
  }
}

}  // namespace espalier
