/* espalier_predict.h: runs a network that Espalier has saved, from C, C++ or any language that calls C.
 *
 * A model is what a file holds: models/STAGE.safetensors or checkpoint.safetensors of a run, packed files, and what
 * `espalier import` and save_weights wrote. A context is what one thread runs it with. A model may have many contexts, and
 * each may run at the same time as the others; one context is for one thread at a time.
 *
 * Functions that return int return 0, or what went wrong as one of the codes below; the thread's last error has the words.
 * None exits, and none throws. Shapes: N images of H x W pixels and C channels, [N,H,W,C], K outputs, [N,K], row-major.
 */
#ifndef ESPALIER_PREDICT_H
#define ESPALIER_PREDICT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ESPALIER_PREDICT_VERSION 1 /* of this interface: one more where a program would have to be changed */
#define ESPALIER_PREDICT_API __attribute__((visibility("default")))

enum {
  ESPALIER_PREDICT_OK = 0,
  ESPALIER_PREDICT_BAD_ARGUMENT = 1, /* a null pointer, a count below 1 */
  ESPALIER_PREDICT_BAD_FILE = 2,     /* missing, damaged, or without a network */
  ESPALIER_PREDICT_NO_MEMORY = 3,
  ESPALIER_PREDICT_FAILED = 4 /* while it ran */
};

typedef struct espalier_predict_model espalier_predict_model;
typedef struct espalier_predict_context espalier_predict_context;

/* The version of the library, as ESPALIER_PREDICT_VERSION is of this header. */
ESPALIER_PREDICT_API int espalier_predict_version(void);

/* What went wrong in this thread's last call that failed: one line; "" before any. Good until its next call that fails. */
ESPALIER_PREDICT_API const char* espalier_predict_error(void);

/* Threads that a run shares its work among, for the process; 1 or more. Without it: as many as there are processors. */
ESPALIER_PREDICT_API int espalier_predict_set_threads(int threads);

/* Reads a model from a file, or from a file's bytes, which are not needed after it. */
ESPALIER_PREDICT_API int espalier_predict_load(const char* file, espalier_predict_model** model);
ESPALIER_PREDICT_API int espalier_predict_load_memory(const void* bytes, size_t size, espalier_predict_model** model);
/* After its contexts. Null will do. */
ESPALIER_PREDICT_API void espalier_predict_free(espalier_predict_model* model);

/* [H,W,C] of the images it takes. */
ESPALIER_PREDICT_API int espalier_predict_input_shape(const espalier_predict_model* model, int64_t shape[3]);
/* K, how many numbers come out for an image; 0 for a null model. */
ESPALIER_PREDICT_API int64_t espalier_predict_outputs(const espalier_predict_model* model);
/* The name of class i, in UTF-8; null where the file names none. Good as long as the model. */
ESPALIER_PREDICT_API const char* espalier_predict_class_name(const espalier_predict_model* model, int64_t i);

ESPALIER_PREDICT_API int espalier_predict_new_context(const espalier_predict_model* model, espalier_predict_context** context);
ESPALIER_PREDICT_API void espalier_predict_free_context(espalier_predict_context* context);

/* logits [N,K] of images [N,H,W,C] as the network takes them: normalised as its training data were. */
ESPALIER_PREDICT_API int espalier_predict_run_f32(espalier_predict_context* context, const float* images, int64_t n,
                                                  float* logits);
/* The same of pixels of 0 to 255, which are normalised as the file says: (x / 255 - mean) / std by channel. */
ESPALIER_PREDICT_API int espalier_predict_run_u8(espalier_predict_context* context, const uint8_t* images, int64_t n,
                                                 float* logits);

#ifdef __cplusplus
}
#endif
#endif
