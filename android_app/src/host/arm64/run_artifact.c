/*
 * Runs one artifact with the app's TensorFlow Lite library for arm64, once: a program for qemu-user.
 *
 * run_artifact FOLDER            prints the library's version
 * run_artifact FOLDER ARTIFACT PLACE INPUT...
 *                                writes PLACE/output_N.raw, and prints a line "TYPE DIM DIM ..." for each output
 *
 * FOLDER has the library and its shim. Exits with 0, with 3 if the library refuses the artifact (its words are on the
 * standard error), with 1 for anything else. The functions are those of tensorflow/lite/core/c/c_api.h, 2.16.1.
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAILED = 1, REFUSED = 3, PATH_BYTES = 4096 };

/*
 * bionic keeps the guard of the stack 40 bytes after the thread pointer, where glibc has the first variables of the
 * program: the library's functions would take a changed variable for a smashed stack. Nothing changes these.
 */
static __thread volatile char guard[256] __attribute__((aligned(16), used));

static void *library;

static void *function(const char *name) {
    void *found = dlsym(library, name);
    if (found == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(FAILED);
    }
    return found;
}

/* Calls the library's function of this name; RESULT and the parameters are those of the header. */
#define API(result, name, ...) ((result (*)(__VA_ARGS__))function(#name))

static void note(void *user, const char *format, va_list values) {
    (void)user;
    vfprintf(stderr, format, values);
    fputc('\n', stderr);
}

static void refuse(const char *why) {
    fprintf(stderr, "%s\n", why);
    exit(REFUSED);
}

static void *load(const char *folder, const char *name) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    void *loaded = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (loaded == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(FAILED);
    }
    return loaded;
}

static void load_library(const char *folder) {
    static const char *const SHIM[] = {"libc.so", "libm.so", "libdl.so", "liblog.so"};
    for (size_t each = 0; each < sizeof SHIM / sizeof *SHIM; each++) load(folder, SHIM[each]);
    library = load(folder, "libtensorflowlite_jni.so");
}

/* Returns an interpreter of the artifact, as the app makes it: XNNPACK, one thread. */
static void *prepare(const char *artifact) {
    void *model = API(void *, TfLiteModelCreateFromFileWithErrorReporter, const char *, void *, void *)(
        artifact, note, NULL);
    if (model == NULL) refuse("the file is no artifact");
    void *options = API(void *, TfLiteInterpreterOptionsCreate, void)();
    API(void, TfLiteInterpreterOptionsSetNumThreads, void *, int32_t)(options, 1);
    API(void, TfLiteInterpreterOptionsSetErrorReporter, void *, void *, void *)(options, note, NULL);
    void *delegate = API(void *, TfLiteXNNPackDelegateCreate, void *)(NULL);
    API(void, TfLiteInterpreterOptionsAddDelegate, void *, void *)(options, delegate);
    void *interpreter = API(void *, TfLiteInterpreterCreate, void *, void *)(model, options);
    if (interpreter == NULL) refuse("no interpreter can be created");
    if (API(int, TfLiteInterpreterAllocateTensors, void *)(interpreter)) refuse("the tensors cannot be allocated");
    return interpreter;
}

static size_t size_of(void *tensor) { return API(size_t, TfLiteTensorByteSize, void *)(tensor); }

static void *memory(size_t size) {
    void *data = malloc(size ? size : 1);
    if (data == NULL) exit(FAILED);
    return data;
}

static void fill(void *interpreter, int count, char **inputs) {
    if (API(int32_t, TfLiteInterpreterGetInputTensorCount, void *)(interpreter) != count)
        refuse("the artifact has another number of inputs");
    for (int number = 0; number < count; number++) {
        void *tensor = API(void *, TfLiteInterpreterGetInputTensor, void *, int32_t)(interpreter, number);
        size_t size = size_of(tensor);
        char *data = memory(size);
        FILE *file = fopen(inputs[number], "rb");
        if (file == NULL) exit(FAILED);
        if (fread(data, 1, size, file) != size || fgetc(file) != EOF) refuse("an input has another size");
        fclose(file);
        if (API(int, TfLiteTensorCopyFromBuffer, void *, const void *, size_t)(tensor, data, size))
            refuse("an input cannot be set");
        free(data);
    }
}

static void write_outputs(void *interpreter, const char *place) {
    int count = API(int32_t, TfLiteInterpreterGetOutputTensorCount, void *)(interpreter);
    for (int number = 0; number < count; number++) {
        void *tensor = API(void *, TfLiteInterpreterGetOutputTensor, void *, int32_t)(interpreter, number);
        size_t size = size_of(tensor);
        char *data = memory(size), path[PATH_BYTES];
        if (API(int, TfLiteTensorCopyToBuffer, void *, void *, size_t)(tensor, data, size))
            refuse("an output cannot be read");
        snprintf(path, sizeof path, "%s/output_%d.raw", place, number);
        FILE *file = fopen(path, "wb");
        if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file)) exit(FAILED);
        free(data);
        printf("%d", API(int, TfLiteTensorType, void *)(tensor));
        int axes = API(int32_t, TfLiteTensorNumDims, void *)(tensor);
        for (int axis = 0; axis < axes; axis++)
            printf(" %d", API(int32_t, TfLiteTensorDim, void *, int32_t)(tensor, axis));
        putchar('\n');
    }
}

int main(int count, char **words) {
    guard[0] = 0;
    if (count != 2 && count < 4) return FAILED;
    load_library(words[1]);
    if (count == 2) return puts(API(const char *, TfLiteVersion, void)()) < 0;
    void *interpreter = prepare(words[2]);
    fill(interpreter, count - 4, words + 4);
    if (API(int, TfLiteInterpreterInvoke, void *)(interpreter)) refuse("the inference failed");
    write_outputs(interpreter, words[3]);
    return 0;
}
