/* Options, the event loop, the measured window and its line of JSON.
 *
 *   load mode=echo port=4711 path=/ws connections=100 size=32 seconds=2 …
 *
 * Prints {"count": …, "seconds": …, "client_cpu": …, …} and ends with 0, or says on
 * standard error what went wrong and ends with 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

struct load load = {
    .path = "/ws", .connections = 100, .size = 32, .warmup = 0.5, .seconds = 2,
    .deadline = 60, .most = 10 * 1000 * 1000, .server_core = -1, .client_core = -1,
    .opening = 64, .flight = 100, .rate = 10 * 1000,
};

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static double clock_seconds(clockid_t clock) {
    struct timespec time;
    if (clock_gettime(clock, &time) < 0)
        return 0;
    return time.tv_sec + time.tv_nsec / 1e9;
}

double now(void) {
    return clock_seconds(CLOCK_MONOTONIC);
}

/* One round of the event loop. The run's deadline is checked here, so nothing waits for ever. */
void poll_events(int milliseconds) {
    struct epoll_event events[256];
    int ready = epoll_wait(load.epoll, events, 256, milliseconds);
    if (ready < 0 && errno != EINTR)
        fail("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < ready; i++)
        if (events[i].data.ptr) /* otherwise it is a mode's own timer */
            handle_events(events[i].data.ptr, events[i].events);
    if (now() > load.ends_at)
        fail("deadline of %.0f s: %d of %d connections open, %ld answers", load.deadline, load.open,
             load.connections, load.count);
}

/* Run the loop until a point in time, or until there are `count` more answers. */
void run_until(double when, long count) {
    long last = load.count + count;
    for (double left; load.count < last && (left = when - now()) > 0;)
        poll_events(left < 0.05 ? (int)(left * 1000) : 50);
}

/* Readings at one end of the window. */
struct reading {
    double at, client_cpu, server_cpu; /* seconds */
    double client_busy, server_busy;   /* seconds of the whole core, whoever used it */
    long count;
};

/* How long a core has not been idle, from /proc/stat; 0 if it can't be told. */
static double core_busy(int core) {
    char line[512], name[16];
    long user, nice, system, idle, iowait, irq, softirq, steal;
    double busy = 0;
    FILE *file = fopen("/proc/stat", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "%15s %ld %ld %ld %ld %ld %ld %ld %ld", name, &user, &nice, &system, &idle,
                   &iowait, &irq, &softirq, &steal) == 9 &&
            !strncmp(name, "cpu", 3) && name[3] && atoi(name + 3) == core)
            busy = (user + nice + system + irq + softirq + steal) / (double)sysconf(_SC_CLK_TCK);
    if (file)
        fclose(file);
    return busy;
}

/* The CPU seconds of all that serve. */
static double server_seconds(void) {
    double seconds = 0;
    clockid_t server;
    for (const char *pid = load.server_pids; pid && *pid; pid += strcspn(pid, ","), pid += *pid == ',')
        if (clock_getcpuclockid(atoi(pid), &server) == 0)
            seconds += clock_seconds(server);
    return seconds;
}

static struct reading take_reading(void) {
    struct reading reading = {.at = now(), .count = load.count};
    reading.client_cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
    reading.server_cpu = server_seconds();
    reading.client_busy = core_busy(load.client_core);
    reading.server_busy = core_busy(load.server_core);
    return reading;
}

static struct reading start;

void start_window(void) {
    start = take_reading();
}

void end_window(void) {
    struct reading end = take_reading();
    printf("{\"count\": %ld, \"seconds\": %.6f, \"client_cpu\": %.6f, \"server_cpu\": %.6f, "
           "\"client_busy\": %.2f, \"server_busy\": %.2f",
           end.count - start.count, end.at - start.at, end.client_cpu - start.client_cpu,
           end.server_cpu - start.server_cpu, end.client_busy - start.client_busy,
           end.server_busy - start.server_busy);
}

/* Warm up, measure, print. The window ends at its time or at its count, whichever is first. */
void measure_window(void) {
    run_until(now() + load.warmup, load.most);
    start_window();
    run_until(start.at + load.seconds, load.most);
    end_window();
    printf("}\n");
}

static void read_option(const char *option) {
    static const struct {
        const char *name;
        int *number;
        long *count;
        double *seconds;
        const char **text;
    } options[] = {
        {"mode", .text = &load.mode}, {"path", .text = &load.path},
        {"port", .number = &load.port}, {"other_port", .number = &load.other_port},
        {"socketio", .number = &load.socketio}, {"connections", .number = &load.connections},
        {"size", .number = &load.size}, {"binary", .number = &load.binary},
        {"json", .number = &load.json}, {"tls", .number = &load.tls},
        {"deflate", .number = &load.deflate}, {"opening", .number = &load.opening},
        {"flight", .number = &load.flight}, {"rate", .seconds = &load.rate},
        {"server_pids", .text = &load.server_pids}, {"server_core", .number = &load.server_core},
        {"client_core", .number = &load.client_core}, {"most", .count = &load.most},
        {"warmup", .seconds = &load.warmup}, {"seconds", .seconds = &load.seconds},
        {"deadline", .seconds = &load.deadline}, {NULL},
    };
    for (int i = 0; options[i].name; i++) {
        size_t length = strlen(options[i].name);
        if (strncmp(option, options[i].name, length) || option[length] != '=')
            continue;
        const char *value = option + length + 1;
        if (options[i].text) *options[i].text = value;
        if (options[i].number) *options[i].number = atoi(value);
        if (options[i].count) *options[i].count = atol(value);
        if (options[i].seconds) *options[i].seconds = atof(value);
        return;
    }
    fail("unknown option: %s", option);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        read_option(argv[i]);
    for (load.plan = modes; load.plan->name && (!load.mode || strcmp(load.plan->name, load.mode));)
        load.plan++;
    if (!load.plan->name || load.port <= 0 || load.connections <= 0 || load.size < TAG_BYTES)
        fail("needs a mode (see modes.c), port, connections, and a size from %d", TAG_BYTES);
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    load.ends_at = now() + load.deadline;
    load.table = calloc(load.connections, sizeof *load.table);
    for (int i = 0; i < load.connections; i++)
        load.table[i].number = i, load.table[i].kind = load.plan->kind;
    make_filler();
    load.plan->run();
    return 0;
}
