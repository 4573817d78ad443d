// Loaded before a service, makes its machine's date wrong by CLOCK_OFF_SECONDS. Not libfaketime: it does not know
// cnd_timedwait, of which librdkafka then waits for three hours.
//
// CLOCK_MONOTONIC stays right: what lasts is measured right on a machine whose date is wrong.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static time_t off_seconds(void) {
    const char *told = getenv("CLOCK_OFF_SECONDS");
    return told ? (time_t)strtoll(told, NULL, 10) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += off_seconds();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec precise;
    int result = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return result;
}

time_t time(time_t *into) {
    struct timespec precise = {0};
    clock_gettime(CLOCK_REALTIME, &precise);
    if (into) *into = precise.tv_sec;
    return precise.tv_sec;
}

// The end of a wait comes from the wrong clock, and the kernel compares it with its own.
int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
    static int (*real)(cnd_t *restrict, mtx_t *restrict, const struct timespec *restrict);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "cnd_timedwait");
    struct timespec right = *until;
    right.tv_sec -= off_seconds();
    return real(condition, mutex, &right);
}
