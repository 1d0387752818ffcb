/* Writes down what a program does to files below DISK_ROOT, in order, to the file DISK_LOG.
   A record: kind, path, second path or "", number, length of data, then the data. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static int log_handle = -2;
#define REAL(name, type) ((type)dlsym(RTLD_NEXT, name))

static int is_ours(const char *path) {
    const char *root = getenv("DISK_ROOT");
    return root && path && strncmp(path, root, strlen(root)) == 0;
}
static int path_of(int handle, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t length = readlink(link, path, size - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return is_ours(path);
}
static void absolute(int folder, const char *name, char *path, size_t size) {
    if (name[0] == '/') { snprintf(path, size, "%s", name); return; }
    char base[2048] = "";
    if (folder == AT_FDCWD) { if (!getcwd(base, sizeof base)) base[0] = 0; }
    else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, base, sizeof base - 1);
        base[length > 0 ? length : 0] = 0;
    }
    snprintf(path, size, "%s/%s", base, name);
}
static void note(char kind, const char *path, const char *other, long number, const void *data,
                 size_t length) {
    ssize_t (*real)(int, const void *, size_t) = REAL("write", ssize_t (*)(int, const void *, size_t));
    int (*real_open)(const char *, int, ...) = REAL("open", int (*)(const char *, int, ...));
    char head[4600];
    pthread_mutex_lock(&turn);
    if (log_handle == -2)
        log_handle = real_open(getenv("DISK_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int size = snprintf(head, sizeof head, "%c\t%s\t%s\t%ld\t%zu\n", kind, path, other, number, length);
    real(log_handle, head, size);
    if (length) real(log_handle, data, length);
    pthread_mutex_unlock(&turn);
}
static void opened(const char *path, int flags, int was_there) {
    if (!is_ours(path)) return;
    if ((flags & O_CREAT) && !was_there) note('C', path, "", 0, "", 0);
    else if (flags & O_TRUNC) note('T', path, "", 0, "", 0);
}
#define OPEN(name, real_name)                                                          \
    int name(const char *path, int flags, ...) {                                       \
        va_list more; va_start(more, flags); int mode = va_arg(more, int); va_end(more); \
        char whole[4096]; absolute(AT_FDCWD, path, whole, sizeof whole);               \
        int there = access(whole, F_OK) == 0;                                          \
        int handle = REAL(real_name, int (*)(const char *, int, ...))(path, flags, mode); \
        if (handle >= 0) opened(whole, flags, there);                                  \
        return handle;                                                                 \
    }
OPEN(open, "open")
OPEN(open64, "open64")
#define OPENAT(name, real_name)                                                        \
    int name(int folder, const char *path, int flags, ...) {                           \
        va_list more; va_start(more, flags); int mode = va_arg(more, int); va_end(more); \
        char whole[4096]; absolute(folder, path, whole, sizeof whole);                 \
        int there = access(whole, F_OK) == 0;                                          \
        int handle = REAL(real_name, int (*)(int, const char *, int, ...))(folder, path, flags, mode); \
        if (handle >= 0) opened(whole, flags, there);                                  \
        return handle;                                                                 \
    }
OPENAT(openat, "openat")
OPENAT(openat64, "openat64")
static void wrote(int handle, const void *data, ssize_t done, long offset) {
    char path[4096];
    if (done > 0 && path_of(handle, path, sizeof path)) note('W', path, "", offset, data, done);
}
ssize_t write(int handle, const void *data, size_t length) {
    char path[4096];
    int ours = handle > 2 && path_of(handle, path, sizeof path);
    long offset = 0;
    if (ours) {
        struct stat status;
        int flags = fcntl(handle, F_GETFL);
        if ((flags & O_APPEND) && fstat(handle, &status) == 0) offset = status.st_size;
        else offset = lseek(handle, 0, SEEK_CUR);
    }
    ssize_t done = REAL("write", ssize_t (*)(int, const void *, size_t))(handle, data, length);
    if (ours) wrote(handle, data, done, offset);
    return done;
}
ssize_t pwrite(int handle, const void *data, size_t length, off_t offset) {
    ssize_t done = REAL("pwrite", ssize_t (*)(int, const void *, size_t, off_t))(handle, data, length, offset);
    wrote(handle, data, done, offset);
    return done;
}
ssize_t pwrite64(int handle, const void *data, size_t length, off64_t offset) {
    ssize_t done = REAL("pwrite64", ssize_t (*)(int, const void *, size_t, off64_t))(handle, data, length, offset);
    wrote(handle, data, done, offset);
    return done;
}
#define TRUNCATE(name, type)                                                           \
    int name(int handle, type size) {                                                  \
        char path[4096];                                                               \
        int done = REAL(#name, int (*)(int, type))(handle, size);                      \
        if (done == 0 && path_of(handle, path, sizeof path)) note('T', path, "", size, "", 0); \
        return done;                                                                   \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)
#define SYNC(name)                                                                     \
    int name(int handle) {                                                             \
        char path[4096];                                                               \
        int done = REAL(#name, int (*)(int))(handle);                                  \
        if (done == 0 && path_of(handle, path, sizeof path)) note('S', path, "", 0, "", 0); \
        return done;                                                                   \
    }
SYNC(fsync)
SYNC(fdatasync)
int rename(const char *old, const char *new) {
    char from[4096], to[4096];
    absolute(AT_FDCWD, old, from, sizeof from);
    absolute(AT_FDCWD, new, to, sizeof to);
    int done = REAL("rename", int (*)(const char *, const char *))(old, new);
    if (done == 0 && is_ours(to)) note('R', from, to, 0, "", 0);
    return done;
}
int unlink(const char *name) {
    char path[4096];
    absolute(AT_FDCWD, name, path, sizeof path);
    int done = REAL("unlink", int (*)(const char *))(name);
    if (done == 0 && is_ours(path)) note('U', path, "", 0, "", 0);
    return done;
}
int mkdir(const char *name, mode_t mode) {
    char path[4096];
    absolute(AT_FDCWD, name, path, sizeof path);
    int done = REAL("mkdir", int (*)(const char *, mode_t))(name, mode);
    if (done == 0 && is_ours(path)) note('D', path, "", 0, "", 0);
    return done;
}
