/* The load client of scripts/bench: many WebSockets, or event streams, from one thread.
 *
 * It has to be faster than every server it measures, so: one epoll, non-blocking
 * sockets, frames made ready before the run, payloads thrown away unread. Each
 * message carries a tag, so no server can profit from seeing the same bytes twice
 * and every answer is checked to be the answer to what was asked.
 *
 *   connection.c  one connection: handshake, send a message, take frames apart
 *   modes.c       what is done with them: echo, fanout, idle, streams, connect
 *   main.c        options, the measured window, the one line of JSON at the end
 */
#ifndef LOAD_H
#define LOAD_H

#include <stddef.h>
#include <stdint.h>

enum {
    TAG_BYTES = 16,           /* message number and connection number, 8 hex digits each */
    MAX_FRAME_HEAD = 14,      /* RFC 6455 §5.2: 2 + 8 + 4 */
    MAX_CONTROL_BYTES = 125,  /* RFC 6455 §5.5 */
    MAX_RESPONSE_HEAD = 2048, /* a 101, or a stream's 200, with all its headers */
    MAX_OPENING = 64,         /* handshakes under way: below every server's listen backlog */
};

enum opcode { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

enum state { CLOSED, CONNECTING, UPGRADING, OPEN, CLOSING };

struct connection {
    int fd;
    enum state state;
    uint32_t number;   /* its place in load.connections */
    uint32_t messages; /* sent so far */

    /* Going out: a frame head and the tag, then load.filler, which all share. */
    unsigned char out[MAX_FRAME_HEAD + MAX_CONTROL_BYTES];
    size_t out_bytes;    /* used of out */
    size_t filler_bytes; /* of load.filler that belong to this frame */
    size_t sent;         /* of both */

    /* Coming in: the response's head, later each frame's head with the first bytes
       of its payload; the rest of the payload is only counted. */
    unsigned char in[MAX_RESPONSE_HEAD];
    size_t in_bytes;
    uint64_t unread;        /* payload bytes still to come */
    uint64_t message_bytes; /* of the fragments so far */
};

/* What a mode does when something happens; a NULL means nothing. */
struct mode {
    const char *name;
    int is_stream; /* a plain GET that is answered with 200 and never ends, instead of an upgrade */
    void (*on_open)(struct connection *);
    void (*on_message)(struct connection *);
    void (*on_end)(struct connection *); /* the server has ended what we asked it to end */
    void (*run)(void);
};

struct load {
    /* options */
    const char *mode, *path;
    int port, connections, size, binary;
    double warmup, seconds, deadline; /* seconds; the deadline is for the whole run */
    long most;                        /* messages, deliveries or connections in the window */
    int server_pid, server_core, client_core;
    /* state */
    const struct mode *plan;
    struct connection *table;
    unsigned char *filler; /* masked payload after the tag */
    int epoll, open;
    long count; /* messages answered, deliveries made or connections opened */
    double ends_at;
};

extern struct load load;

/* connection.c */
void start_connection(struct connection *connection);
void end_connection(struct connection *connection);
void send_message(struct connection *connection);
void send_close(struct connection *connection);
int is_answer(const struct connection *connection, uint32_t message, uint32_t sender);
void handle_events(struct connection *connection, uint32_t events);
void make_filler(void);

/* modes.c */
extern const struct mode modes[];

/* main.c */
double now(void);
void poll_events(int milliseconds);
void measure_window(void);
void run_until(double when, long count);
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
