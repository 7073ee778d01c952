/*
 * Functions of Android's C library (bionic) that differ from glibc's, for the app's own TensorFlow Lite library on a
 * Linux host. Everything else is a jump to glibc; `apk.shim` generates those and links both.
 *
 * Types that cross the boundary (stat, pthread_mutex_t, pthread_cond_t, locale masks, dl_phdr_info's first fields) have
 * the same layout on x86-64 and arm64, checked against bionic's headers of Android 14.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Exports `own` under bionic's name and version. */
#define AS(own, name) __asm__(".symver " #own ", " #name "@LIBC")

/* bionic's FILE has 152 bytes; stdin, stdout and stderr are an array of three. */
enum { FILE_BYTES = 152 };
char own_sF[3 * FILE_BYTES];
AS(own_sF, __sF);

static FILE *file(void *of) {
    ptrdiff_t at = (char *)of - own_sF;
    if (at < 0 || at >= 3 * FILE_BYTES) return of;
    return at < FILE_BYTES ? stdin : at < 2 * FILE_BYTES ? stdout : stderr;
}

int own_fclose(void *of) { return fclose(file(of)); }
AS(own_fclose, fclose);
int own_fflush(void *of) { return fflush(of == NULL ? NULL : file(of)); }
AS(own_fflush, fflush);
int own_fileno(void *of) { return fileno(file(of)); }
AS(own_fileno, fileno);
int own_fputc(int letter, void *of) { return fputc(letter, file(of)); }
AS(own_fputc, fputc);
size_t own_fread(void *to, size_t size, size_t count, void *of) { return fread(to, size, count, file(of)); }
AS(own_fread, fread);
size_t own_fwrite(const void *from, size_t size, size_t count, void *of) { return fwrite(from, size, count, file(of)); }
AS(own_fwrite, fwrite);
int own_vfprintf(void *of, const char *format, va_list values) { return vfprintf(file(of), format, values); }
AS(own_vfprintf, vfprintf);
int own_fprintf(void *of, const char *format, ...) {
    va_list values;
    va_start(values, format);
    int written = vfprintf(file(of), format, values);
    va_end(values);
    return written;
}
AS(own_fprintf, fprintf);

/*
 * XNNPACK's AVX-512 kernels load the parameters of an operator as if they were aligned to 64 bytes, and its build for
 * Android asks for less: whether quantizing crashes depends on the allocator's luck. Phones have no AVX-512.
 */
enum { AVX512_BYTES = 64 };
void *own_memalign(size_t alignment, size_t size) {
    return memalign(alignment < AVX512_BYTES ? AVX512_BYTES : alignment, size);
}
AS(own_memalign, memalign);
int own_posix_memalign(void **memory, size_t alignment, size_t size) {
    return posix_memalign(memory, alignment < AVX512_BYTES ? AVX512_BYTES : alignment, size);
}
AS(own_posix_memalign, posix_memalign);

int *own_errno(void) { return &errno; }
AS(own_errno, __errno);

/* POSIX's variant: glibc's plain symbol is GNU's. */
extern int __xpg_strerror_r(int, char *, size_t);
int own_strerror_r(int number, char *text, size_t size) { return __xpg_strerror_r(number, text, size); }
AS(own_strerror_r, strerror_r);

size_t own_strlen_chk(const char *text, size_t size) { (void)size; return strlen(text); }
AS(own_strlen_chk, __strlen_chk);

/* bionic's numbers (bits/sysconf.h) of what the runtime asks. */
long own_sysconf(int name) {
    switch (name) {
        case 0x0006: return sysconf(_SC_CLK_TCK);
        case 0x0027: case 0x0028: return sysconf(_SC_PAGESIZE);
        case 0x0060: return sysconf(_SC_NPROCESSORS_CONF);
        case 0x0061: return sysconf(_SC_NPROCESSORS_ONLN);
        case 0x0062: return sysconf(_SC_PHYS_PAGES);
        case 0x0063: return sysconf(_SC_AVPHYS_PAGES);
        default: errno = EINVAL; return -1;
    }
}
AS(own_sysconf, sysconf);

/* The API level is NNLITE_ANDROID_API; there are no other properties. PROP_VALUE_MAX is 92. */
int own_system_property_get(const char *name, char *value) {
    const char *level = strcmp(name, "ro.build.version.sdk") == 0 ? getenv("NNLITE_ANDROID_API") : NULL;
    return snprintf(value, 92, "%s", level ? level : "");
}
AS(own_system_property_get, __system_property_get);

void own_set_abort_message(const char *message) { fprintf(stderr, "%s\n", message ? message : ""); }
AS(own_set_abort_message, android_set_abort_message);

/* Appends to the file that NNLITE_ANDROID_LOG names, in the format of `logcat -v brief`. */
int own_log_vprint(int priority, const char *tag, const char *format, va_list values) {
    static const char LETTERS[] = "??VDIWEFS";
    char line[4096];
    const char *path = getenv("NNLITE_ANDROID_LOG");
    int head = snprintf(line, sizeof line, "%c/%s(%5d): ",
                        priority >= 0 && priority < 9 ? LETTERS[priority] : '?', tag ? tag : "", (int)getpid());
    if (head < 0 || head >= (int)sizeof line - 1) return -1;
    int body = vsnprintf(line + head, sizeof line - 1 - head, format, values);
    if (body < 0 || path == NULL) return body;
    size_t length = head + ((size_t)body < sizeof line - 1 - head ? (size_t)body : sizeof line - 2 - head);
    line[length++] = '\n';
    int log = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log < 0) return -1;
    ssize_t written = write(log, line, length);
    close(log);
    return (int)written;
}
__asm__(".symver own_log_vprint, __android_log_vprint@LIBC");
