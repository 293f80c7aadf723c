/* Preloaded into a command and its children: the n-th operation on a file below a directory fails, or kills all of the
 * process group, or is only counted. What is to be done stands in a page that all of them share (tests/damage/faults.py).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, RENAME = 4, LINK = 8, MKDIR = 16, OPEN = 32, UNLINK = 64 };

struct orders {
    int64_t count;  /* operations so far */
    int64_t at;     /* the number of the one that is hit; 0: none */
    int32_t mask;   /* kinds of operations that count */
    int32_t error;  /* errno of a failure; 0: the process group is killed */
    int32_t sticky; /* all later ones fail, too, as on a full disk */
    int32_t fired;
    char under[512]; /* the directory; empty: nothing counts */
    char match[128]; /* what the path must contain */
    char where[600]; /* the operation that was hit */
};

static struct orders *orders;
static const char *own, *page;

__attribute__((constructor)) static void begin(void) {
    page = getenv("FAULTS_PAGE");
    own = getenv("LD_PRELOAD");
    int descriptor = page ? open(page, O_RDWR | O_CLOEXEC) : -1;
    if (descriptor < 0)
        return;
    void *found = mmap(NULL, sizeof *orders, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (found != MAP_FAILED)
        orders = found;
}

static int hit(int kind, const char *name, const char *path) {
    if (strncmp(path, orders->under, strlen(orders->under)) || !strstr(path, orders->match))
        return 0;
    int64_t number = __atomic_add_fetch(&orders->count, 1, __ATOMIC_SEQ_CST);
    if (!orders->at || (number != orders->at && !(orders->sticky && number > orders->at)))
        return 0;
    (void)kind;
    if (!__atomic_exchange_n(&orders->fired, 1, __ATOMIC_SEQ_CST))
        snprintf(orders->where, sizeof orders->where, "%s %s", name, path);
    if (!orders->error) {
        kill(0, SIGKILL);
        for (;;)
            pause();
    }
    errno = orders->error;
    return 1;
}

static int counts(int kind) { return orders && orders->under[0] && (orders->mask & kind); }

static int hit_descriptor(int kind, const char *name, int descriptor) {
    char link[64], path[PATH_MAX];
    if (!counts(kind))
        return 0;
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0)
        return 0;
    path[length] = 0;
    return hit(kind, name, path);
}

static int hit_path(int kind, const char *name, int directory, const char *path) {
    char link[64], full[2 * PATH_MAX];
    if (!counts(kind))
        return 0;
    if (path[0] == '/')
        return hit(kind, name, path);
    int before = errno;
    if (directory == AT_FDCWD)
        strcpy(link, "/proc/self/cwd");
    else
        snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    ssize_t length = readlink(link, full, PATH_MAX - 1);
    errno = before;
    if (length < 0)
        return 0;
    snprintf(full + length, PATH_MAX, "/%s", path);
    return hit(kind, name, full);
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) \
        real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t);
    return hit_descriptor(WRITE, "write", fd) ? -1 : real(fd, data, size);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
    return hit_descriptor(WRITE, "pwrite", fd) ? -1 : real(fd, data, size, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    return hit_descriptor(WRITE, "writev", fd) ? -1 : real(fd, parts, count);
}

int ftruncate64(int fd, off64_t size) {
    REAL(int, ftruncate64, int, off64_t);
    return hit_descriptor(WRITE, "ftruncate", fd) ? -1 : real(fd, size);
}

int fsync(int fd) {
    REAL(int, fsync, int);
    return hit_descriptor(SYNC, "fsync", fd) ? -1 : real(fd);
}

int syncfs(int fd) {
    REAL(int, syncfs, int);
    return hit_descriptor(SYNC, "syncfs", fd) ? -1 : real(fd);
}

int rename(const char *old, const char *new) {
    REAL(int, rename, const char *, const char *);
    return hit_path(RENAME, "rename", AT_FDCWD, new) ? -1 : real(old, new);
}

int renameat(int from, const char *old, int to, const char *new) {
    REAL(int, renameat, int, const char *, int, const char *);
    return hit_path(RENAME, "renameat", to, new) ? -1 : real(from, old, to, new);
}

int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
    REAL(int, renameat2, int, const char *, int, const char *, unsigned);
    return hit_path(RENAME, "renameat2", to, new) ? -1 : real(from, old, to, new, flags);
}

int link(const char *old, const char *new) {
    REAL(int, link, const char *, const char *);
    return hit_path(LINK, "link", AT_FDCWD, new) ? -1 : real(old, new);
}

int linkat(int from, const char *old, int to, const char *new, int flags) {
    REAL(int, linkat, int, const char *, int, const char *, int);
    return hit_path(LINK, "linkat", to, new) ? -1 : real(from, old, to, new, flags);
}

int symlink(const char *target, const char *path) {
    REAL(int, symlink, const char *, const char *);
    return hit_path(LINK, "symlink", AT_FDCWD, path) ? -1 : real(target, path);
}

int symlinkat(const char *target, int directory, const char *path) {
    REAL(int, symlinkat, const char *, int, const char *);
    return hit_path(LINK, "symlinkat", directory, path) ? -1 : real(target, directory, path);
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    return hit_path(MKDIR, "mkdir", AT_FDCWD, path) ? -1 : real(path, mode);
}

int mkdirat(int directory, const char *path, mode_t mode) {
    REAL(int, mkdirat, int, const char *, mode_t);
    return hit_path(MKDIR, "mkdirat", directory, path) ? -1 : real(directory, path, mode);
}

int unlink(const char *path) {
    REAL(int, unlink, const char *);
    return hit_path(UNLINK, "unlink", AT_FDCWD, path) ? -1 : real(path);
}

int unlinkat(int directory, const char *path, int flags) {
    REAL(int, unlinkat, int, const char *, int);
    return hit_path(UNLINK, "unlinkat", directory, path) ? -1 : real(directory, path, flags);
}

int rmdir(const char *path) {
    REAL(int, rmdir, const char *);
    return hit_path(UNLINK, "rmdir", AT_FDCWD, path) ? -1 : real(path);
}

#define MODE(flags, last) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, last); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

#define OPENS(flags) ((flags) & (O_CREAT | O_WRONLY | O_RDWR) ? OPEN : 0)

int open(const char *path, int flags, ...) {
    REAL(int, open, const char *, int, ...);
    MODE(flags, flags)
    return hit_path(OPENS(flags), "open", AT_FDCWD, path) ? -1 : real(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    REAL(int, open64, const char *, int, ...);
    MODE(flags, flags)
    return hit_path(OPENS(flags), "open", AT_FDCWD, path) ? -1 : real(path, flags, mode);
}

int openat(int directory, const char *path, int flags, ...) {
    REAL(int, openat, int, const char *, int, ...);
    MODE(flags, flags)
    return hit_path(OPENS(flags), "openat", directory, path) ? -1 : real(directory, path, flags, mode);
}

int openat64(int directory, const char *path, int flags, ...) {
    REAL(int, openat64, int, const char *, int, ...);
    MODE(flags, flags)
    return hit_path(OPENS(flags), "openat", directory, path) ? -1 : real(directory, path, flags, mode);
}

/* Children get both variables, whatever environment they are given. */
int execve(const char *program, char *const arguments[], char *const environment[]) {
    REAL(int, execve, const char *, char *const[], char *const[]);
    if (!orders)
        return real(program, arguments, environment);
    size_t count = 0, kept = 0;
    while (environment && environment[count])
        count++;
    char preload[PATH_MAX], faults[PATH_MAX];
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", own);
    snprintf(faults, sizeof faults, "FAULTS_PAGE=%s", page);
    char *own_environment[count + 3];
    for (size_t number = 0; number < count; number++)
        if (strncmp(environment[number], "LD_PRELOAD=", 11) && strncmp(environment[number], "FAULTS_PAGE=", 12))
            own_environment[kept++] = environment[number];
    own_environment[kept++] = preload;
    own_environment[kept++] = faults;
    own_environment[kept] = NULL;
    return real(program, arguments, own_environment);
}
