/* What the load client does with a crowd: many connections, each at its own pace. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "load.h"

/* rotate: a fixed number of messages is under way, each on the connection that has been silent for
   longest. Says how many are open, and begins when standard input ends. */

static int next_turn;

static void send_next(void) {
    for (;;) {
        struct connection *connection = &load.table[next_turn];
        next_turn = (next_turn + 1) % load.connections;
        if (connection->messages == connection->answers) {
            send_message(connection);
            return;
        }
    }
}

void rotate_message(struct connection *connection) {
    if (!is_answer(connection, ++connection->answers, connection->number))
        fail("connection %u: this is not the message it sent", connection->number);
    load.count++;
    send_next();
}

void run_rotate(void) {
    open_all();
    printf("{\"open\": %d}\n", load.open);
    fflush(stdout);
    while (is_input_open())
        poll_events(50);
    for (int i = 0; i < load.flight && i < load.connections; i++)
        send_next();
    measure_window();
}

/* latency: message after message at a fixed rate, on one connection after the other, whatever has
   been answered. A message's time runs from when it was due, so that neither a server that stalls
   nor a client that is late makes it look shorter. Its number tells when that was. */

enum { EXACT = 64, STEPS = 32, DOUBLINGS = 24 }; /* up to 64 us each; above 32 steps per doubling */

struct histogram {
    long counts[EXACT + STEPS * DOUBLINGS];
    long most; /* microseconds */
};

static struct histogram waited, lagged;
static double begun, counted_from, counted_until;
static long sent;

static void note(struct histogram *histogram, double seconds) {
    long us = seconds * 1e6;
    int slot = us < 0 ? 0 : us;
    if (us >= EXACT) {
        int doublings = 63 - __builtin_clzl(us) - 6;
        slot = EXACT + doublings * STEPS + (us >> (doublings + 1)) - STEPS;
        if (doublings >= DOUBLINGS)
            slot = EXACT + STEPS * DOUBLINGS - 1;
    }
    histogram->counts[slot]++;
    if (us > histogram->most)
        histogram->most = us;
}

/* Print [[most of the slot in us, count], ...] without the empty ones, and the longest of all. */
static void print_histogram(const char *name, const struct histogram *histogram) {
    const char *comma = "";
    printf(", \"%s\": [", name);
    for (int i = 0; i < EXACT + STEPS * DOUBLINGS; i++) {
        int doublings = (i - EXACT) / STEPS;
        long most = i < EXACT ? i : ((STEPS + (long)(i - EXACT) % STEPS + 1) << (doublings + 1)) - 1;
        if (!histogram->counts[i])
            continue;
        printf("%s[%ld, %ld]", comma, most, histogram->counts[i]);
        comma = ", ";
    }
    printf("], \"%s_max_us\": %ld", name, histogram->most);
}

static double due(long message) {
    return begun + message / load.rate;
}

void latency_message(struct connection *connection) {
    if (!is_answer(connection, ++connection->answers, connection->number))
        fail("connection %u: this is not the message it sent", connection->number);
    double since = due((long)(connection->answers - 1) * load.connections + connection->number);
    load.count++;
    if (since >= counted_from && since < counted_until)
        note(&waited, now() - since);
}

static void send_due(void) {
    double time = now();
    for (; due(sent) <= time && due(sent) < counted_until; sent++) {
        struct connection *connection = &load.table[sent % load.connections];
        if (connection->sent < connection->out_bytes + connection->filler_bytes)
            fail("the server can't keep %.0f messages/s: a socket is full", load.rate);
        note(&lagged, now() - due(sent));
        send_message(connection);
    }
}

/* Wake the epoll when the next message is due; milliseconds would be too coarse. */
static void set_timer(int timer, double when) {
    struct itimerspec at = {.it_value = {.tv_sec = (time_t)when, .tv_nsec = (when - (time_t)when) * 1e9}};
    if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL) < 0)
        fail("timerfd: %s", strerror(errno));
}

static void run_at_rate(int timer, double until) {
    uint64_t ignored;
    while (now() < until && due(sent) < counted_until) {
        send_due();
        set_timer(timer, due(sent));
        poll_events(50);
        if (read(timer, &ignored, sizeof ignored) < 0 && errno != EAGAIN)
            fail("timerfd: %s", strerror(errno));
    }
}

void run_latency(void) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer < 0 || epoll_ctl(load.epoll, EPOLL_CTL_ADD, timer, &event) < 0)
        fail("timerfd: %s", strerror(errno));
    open_all();
    begun = now() + 0.01;
    counted_from = begun + load.warmup;
    counted_until = counted_from + load.seconds;
    run_at_rate(timer, counted_from);
    start_window();
    run_at_rate(timer, counted_until);
    end_window();
    close(timer);
    while (load.count < sent) /* the deadline is poll_events' */
        poll_events(50);
    print_histogram("waited", &waited);
    print_histogram("lagged", &lagged);
    printf("}\n");
}

/* storm: all are open and greeted; all are cut off, come back at once and are greeted again. */

void storm_message(struct connection *connection) {
    if (connection->answers++)
        fail("connection %u: it was greeted twice", connection->number);
    load.count++;
}

void run_storm(void) {
    long all = load.connections;
    open_all();
    while (load.count < all)
        poll_events(50);
    run_until(now() + load.warmup, all);
    start_window();
    for (int i = 0; i < load.connections; i++) {
        end_connection(&load.table[i]);
        load.table[i].answers = 0;
    }
    open_all();
    while (load.count < 2 * all)
        poll_events(50);
    end_window();
    printf("}\n");
}

/* streamfan: connection 0 posts a message, each of the streams gets it as an event; when the last
   has it, and the post its answer, the next is posted. */

static int missing;

void streamfan_message(struct connection *connection) {
    if (connection->answers++ != load.table[0].messages - 1)
        fail("connection %u: it got the message of round %u twice", connection->number, load.table[0].messages);
    load.count += connection->kind == STREAM;
    if (--missing == 0) {
        missing = load.connections;
        send_message(&load.table[0]);
    }
}

void run_streamfan(void) {
    load.table[0].kind = POSTER;
    open_all();
    run_until(now() + 0.3, load.most); /* some servers count a client only after its 200 */
    missing = load.connections;
    send_message(&load.table[0]);
    measure_window();
}
