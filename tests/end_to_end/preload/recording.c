/* LD_PRELOAD library: writes down, in the order they were made, all calls that change files below one directory or make them
   durable, with all their bytes.

   record_arm() starts it, in the process itself (with ctypes). Calls are made one at a time from then on, so that the order is the
   truth. What a process writes through mmap is not seen: SQLite does that with its -shm file only, which is rebuilt after a crash.
   A record: struct head, first path, second path, data. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "mode.h"

enum { WRITE = 1, TRUNCATE, SYNC, SYNC_ALL, CREATE, MKDIR, RENAME, UNLINK, RMDIR, LINK };

struct head {
    uint32_t kind, first, second, data;
    uint64_t inode, offset;
};

static char root[PATH_MAX];
static size_t root_length;
static int file = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void record_arm(const char *directory, int record_file) {
    strncpy(root, directory, sizeof root - 1);
    root_length = strlen(root);
    file = record_file;
}

static int inside(const char *path) { return file >= 0 && strncmp(path, root, root_length) == 0; }

static int path_of(int handle, char *into) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t length = syscall(SYS_readlink, link, into, PATH_MAX - 1);
    into[length < 0 ? 0 : length] = 0;
    return inside(into) || (file >= 0 && strlen(into) + 1 == root_length && strncmp(into, root, root_length - 1) == 0);
}

static const char *whole(int directory, const char *path, char *into) {
    if (path[0] == '/') return path;
    if (directory == AT_FDCWD) return "";
    path_of(directory, into);
    strncat(into, "/", PATH_MAX - strlen(into) - 1);
    return strncat(into, path, PATH_MAX - strlen(into) - 1);
}

static uint64_t inode_of(int handle) {
    struct stat found;
    return fstat(handle, &found) == 0 ? found.st_ino : 0;
}

static uint64_t inode_at(const char *path) {
    struct stat found;
    return lstat(path, &found) == 0 ? found.st_ino : 0;
}

static void note(int kind, const char *first, const char *second, uint64_t inode, uint64_t offset, const void *data, size_t size) {
    struct head head = {kind, strlen(first), strlen(second), size, inode, offset};
    struct iovec parts[4] = {{&head, sizeof head}, {(void *)first, head.first}, {(void *)second, head.second}, {(void *)data, size}};
    syscall(SYS_writev, file, parts, 4);
}

#define REAL(name, result, ...)                                        \
    static result (*real)(__VA_ARGS__);                                \
    if (!real) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name);
#define LOCKED(call)                     \
    do {                                 \
        pthread_mutex_lock(&lock);       \
        call;                            \
        int kept = errno;                \
        pthread_mutex_unlock(&lock);     \
        errno = kept;                    \
    } while (0)

#define PWRITE(name)                                                                  \
    ssize_t name(int handle, const void *data, size_t size, off_t offset) {           \
        char path[PATH_MAX];                                                          \
        ssize_t done;                                                                 \
        REAL(name, ssize_t, int, const void *, size_t, off_t)                         \
        if (file < 0 || !path_of(handle, path)) return real(handle, data, size, offset); \
        LOCKED(done = real(handle, data, size, offset);                               \
               if (done > 0) note(WRITE, "", "", inode_of(handle), offset, data, done)); \
        return done;                                                                  \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t write(int handle, const void *data, size_t size) {
    char path[PATH_MAX];
    ssize_t done;
    REAL(write, ssize_t, int, const void *, size_t)
    if (file < 0 || handle <= 2 || !path_of(handle, path)) return real(handle, data, size);
    LOCKED(done = real(handle, data, size); if (done > 0) note(
               WRITE, "", "", inode_of(handle), lseek(handle, 0, SEEK_CUR) - done, data, done));
    return done;
}

ssize_t writev(int handle, const struct iovec *parts, int count) {
    char path[PATH_MAX];
    ssize_t done;
    REAL(writev, ssize_t, int, const struct iovec *, int)
    if (file < 0 || handle <= 2 || !path_of(handle, path)) return real(handle, parts, count);
    LOCKED(done = real(handle, parts, count); off_t at = lseek(handle, 0, SEEK_CUR) - done; ssize_t left = done;
           for (int i = 0; left > 0; i++) {
               ssize_t size = left < (ssize_t)parts[i].iov_len ? left : (ssize_t)parts[i].iov_len;
               note(WRITE, "", "", inode_of(handle), at, parts[i].iov_base, size);
               at += size;
               left -= size;
           });
    return done;
}

#define TRUNCATED(name)                                                                   \
    int name(int handle, off_t size) {                                                    \
        char path[PATH_MAX];                                                              \
        int done;                                                                         \
        REAL(name, int, int, off_t)                                                       \
        if (file < 0 || !path_of(handle, path)) return real(handle, size);                \
        LOCKED(done = real(handle, size); if (done == 0) note(TRUNCATE, "", "", inode_of(handle), size, "", 0)); \
        return done;                                                                      \
    }
TRUNCATED(ftruncate)
TRUNCATED(ftruncate64)

#define SYNCED(name, kind)                                                                \
    int name(int handle) {                                                                \
        char path[PATH_MAX];                                                              \
        int done;                                                                         \
        REAL(name, int, int)                                                              \
        if (file < 0 || !path_of(handle, path)) return real(handle);                      \
        LOCKED(done = real(handle); if (done == 0) note(kind, "", "", inode_of(handle), 0, "", 0)); \
        return done;                                                                      \
    }
SYNCED(fsync, SYNC)
SYNCED(fdatasync, SYNC)
SYNCED(syncfs, SYNC_ALL)

static int opened(int (*real)(int, const char *, int, ...), int directory, const char *path, int flags, mode_t mode) {
    char buffer[PATH_MAX];
    const char *at = whole(directory, path, buffer);
    int handle;
    if (!(flags & (O_CREAT | O_TRUNC)) || !inside(at)) return real(directory, path, flags, mode);
    LOCKED(uint64_t before = inode_at(at); handle = real(directory, path, flags, mode); if (handle >= 0) {
        if (!before) note(CREATE, at, "", inode_of(handle), 0, "", 0);
        else if (flags & O_TRUNC) note(TRUNCATE, "", "", before, 0, "", 0);
    });
    return handle;
}

static int (*openat_real(void))(int, const char *, int, ...) {
    return (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat64");
}
#define OPEN(name)                                            \
    int name(const char *path, int flags, ...) {              \
        MODE return opened(openat_real(), AT_FDCWD, path, flags, mode); \
    }
#define OPENAT(name)                                               \
    int name(int directory, const char *path, int flags, ...) {    \
        MODE return opened(openat_real(), directory, path, flags, mode); \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

static int renamed(int from, const char *path, int to, const char *new_path, unsigned flags) {
    char one[PATH_MAX], two[PATH_MAX];
    const char *a = whole(from, path, one), *b = whole(to, new_path, two);
    int done;
    if (!inside(a) && !inside(b)) return syscall(SYS_renameat2, from, path, to, new_path, flags);
    LOCKED(done = syscall(SYS_renameat2, from, path, to, new_path, flags); if (done == 0) note(RENAME, a, b, 0, flags, "", 0));
    return done;
}
int rename(const char *a, const char *b) { return renamed(AT_FDCWD, a, AT_FDCWD, b, 0); }
int renameat(int d, const char *a, int e, const char *b) { return renamed(d, a, e, b, 0); }
int renameat2(int d, const char *a, int e, const char *b, unsigned flags) { return renamed(d, a, e, b, flags); }

static int removed(int directory, const char *path, int flags) {
    char buffer[PATH_MAX];
    const char *at = whole(directory, path, buffer);
    int done;
    if (!inside(at)) return syscall(SYS_unlinkat, directory, path, flags);
    LOCKED(done = syscall(SYS_unlinkat, directory, path, flags); if (done == 0) note(
               flags & AT_REMOVEDIR ? RMDIR : UNLINK, at, "", 0, 0, "", 0));
    return done;
}
int unlink(const char *path) { return removed(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return removed(AT_FDCWD, path, AT_REMOVEDIR); }
int unlinkat(int directory, const char *path, int flags) { return removed(directory, path, flags); }

int mkdirat(int directory, const char *path, mode_t mode) {
    char buffer[PATH_MAX];
    const char *at = whole(directory, path, buffer);
    int done;
    if (!inside(at)) return syscall(SYS_mkdirat, directory, path, mode);
    LOCKED(done = syscall(SYS_mkdirat, directory, path, mode); if (done == 0) note(MKDIR, at, "", inode_at(at), 0, "", 0));
    return done;
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int linkat(int from, const char *path, int to, const char *new_path, int flags) {
    char one[PATH_MAX], two[PATH_MAX];
    const char *a = whole(from, path, one), *b = whole(to, new_path, two);
    int done;
    if (!inside(b)) return syscall(SYS_linkat, from, path, to, new_path, flags);
    LOCKED(done = syscall(SYS_linkat, from, path, to, new_path, flags); if (done == 0) note(LINK, a, b, inode_at(b), 0, "", 0));
    return done;
}
int link(const char *a, const char *b) { return linkat(AT_FDCWD, a, AT_FDCWD, b, 0); }
