/* classify MODEL PIXELS: the likeliest class of an image whose pixels are a file's bytes, [H,W,C].
 * cc classify.c $(pkg-config --cflags --libs espalier-predict) */
#include <espalier_predict.h>
#include <stdio.h>
#include <stdlib.h>

static void check(int code) {
  if (code == ESPALIER_PREDICT_OK) return;
  fprintf(stderr, "classify: %s\n", espalier_predict_error());
  exit(1);
}

int main(int count, char** arguments) {
  espalier_predict_model* model;
  espalier_predict_context* context;
  int64_t shape[3], best = 0;
  if (count != 3) return 2;
  check(espalier_predict_load(arguments[1], &model));
  check(espalier_predict_new_context(model, &context));
  check(espalier_predict_input_shape(model, shape));
  size_t bytes = (size_t)(shape[0] * shape[1] * shape[2]);
  int64_t outputs = espalier_predict_outputs(model);
  unsigned char* pixels = malloc(bytes);
  float* logits = malloc((size_t)outputs * sizeof *logits);
  FILE* file = fopen(arguments[2], "rb");
  if (!file || fread(pixels, 1, bytes, file) != bytes) return 1;
  check(espalier_predict_run_u8(context, pixels, 1, logits));
  for (int64_t i = 1; i < outputs; ++i)
    if (logits[i] > logits[best]) best = i;
  const char* name = espalier_predict_class_name(model, best);
  printf("%lld %s\n", (long long)best, name ? name : "");
  fclose(file), free(logits), free(pixels), espalier_predict_free_context(context), espalier_predict_free(model);
  return 0;
}
