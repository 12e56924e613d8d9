"""classify.py MODEL PIXELS, in Python by ctypes: the likeliest class of an image whose pixels are a file's bytes, [H,W,C]."""

import ctypes
import sys

library = ctypes.CDLL("libespalier_predict.so.1")
library.espalier_predict_error.restype = library.espalier_predict_class_name.restype = ctypes.c_char_p
library.espalier_predict_outputs.restype = ctypes.c_int64


def check(code):
    if code:
        sys.exit(f"classify: {library.espalier_predict_error().decode()}")


model, context = ctypes.c_void_p(), ctypes.c_void_p()
check(library.espalier_predict_load(sys.argv[1].encode(), ctypes.byref(model)))
check(library.espalier_predict_new_context(model, ctypes.byref(context)))
logits = (ctypes.c_float * library.espalier_predict_outputs(model))()
with open(sys.argv[2], "rb") as file:
    check(library.espalier_predict_run_u8(context, file.read(), ctypes.c_int64(1), logits))
best = max(range(len(logits)), key=lambda i: logits[i])
name = library.espalier_predict_class_name(model, ctypes.c_int64(best))
print(best, name.decode() if name else "")
library.espalier_predict_free_context(context)
library.espalier_predict_free(model)
