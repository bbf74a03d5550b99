/* log.c - output to standard output and to the log, and warnings.
 *
 * Each line is one system call, as the world may be stopped.
 * Owns: the log's file. Lock: none; the file is opened at start-up. */
#include "libgc.h"

#include "runtime/os.h"
#include "runtime/print.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LINE 1024

static void write_all(int fd, const char *text)
{
    size_t n = strlen(text), at = 0;
    while (at < n) {
        ssize_t done = oaki_os_write(fd, text + at, n - at);
        if (done <= 0) return;
        at += (size_t)done;
    }
}

static void put(int fd, const char *format, va_list ap)
{
    char line[LINE];
    (void)oaki_vformat(line, sizeof line, format, ap);
    write_all(fd, line);
}

/* The file of an output: GC_LOG_FILE replaces all files, GC_set_log_fd only that of the log. */
static int file_of(int usual)
{
    return lgc.all_fd >= 0 ? lgc.all_fd : usual;
}

static int log_file(void)
{
    return lgc.log_fd >= 0 ? lgc.log_fd : file_of(STDERR_FILENO);
}

void lgc_print(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    put(file_of(STDOUT_FILENO), format, ap);
    va_end(ap);
}

void lgc_log(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    put(log_file(), format, ap);
    va_end(ap);
}

void lgc_err(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    put(file_of(STDERR_FILENO), format, ap);
    va_end(ap);
}

/* The program's messages may have any format of libc's. */
static void put_any(int fd, const char *format, va_list ap)
{
    char line[LINE];
    if (vsnprintf(line, sizeof line, format, ap) > 0) write_all(fd, line);
}

void GC_printf(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    put_any(file_of(STDOUT_FILENO), format, ap);
    va_end(ap);
}

void GC_err_printf(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    put_any(file_of(STDERR_FILENO), format, ap);
    va_end(ap);
}

void GC_log_printf(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    put_any(log_file(), format, ap);
    va_end(ap);
}

static void put_with(int fd, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    put(fd, format, ap);
    va_end(ap);
}

/* Print a warning. The format comes from a caller of the program's warning function, and has one
 * argument of a word. */
void lgc_warn(const char *format, GC_word arg)
{
    void (*print)(int, const char *, ...) = put_with;
    print(file_of(STDERR_FILENO), format, arg);
}

void GC_ignore_warn_proc(char *message, GC_word arg)
{
    if (lgc.print_stats) lgc_warn(message, arg);
}

void GC_set_log_fd(int fd)
{
    lgc.log_fd = fd;
}

void lgc_log_open(const char *path)
{
    int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0644);
    if (fd >= 0) lgc.all_fd = fd;
    else lgc_err("Failed to open %s as log file\n", path);
}

void GC_abort_on_oom(void)
{
    lgc_err("Insufficient memory for the allocation\n");
    GC_on_abort(NULL);
    exit(1);
}
