/* The load client of scripts/bench: many WebSockets, or event streams, from one thread.
 *
 * It has to be faster than every server it measures, so: one epoll, non-blocking
 * sockets, frames made ready before the run, payloads thrown away unread. Each
 * message carries a tag, so no server can profit from seeing the same bytes twice
 * and every answer is checked to be the answer to what was asked.
 *
 *   connection.c  one connection: connect, shake hands, read and write
 *   frames.c      what goes over it: frames out and in, events, the tag and where it has to be
 *   secure.c      the same over TLS, with OpenSSL
 *   deflate.c     permessage-deflate (RFC 7692), with zlib
 *   socketio.c    Socket.IO over the WebSocket: its greeting, its pings, an event per message
 *   modes.c       what is done with connections: echo, fanout, idle, streams, connect
 *   crowds.c      and with many at their own pace: rotate, latency, storm, streamfan
 *   main.c        options, the measured window, the one line of JSON at the end
 *
 * secure.c and deflate.c compile without their libraries too, and say then what is missing.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    TAG_BYTES = 16,           /* message number and connection number, 8 hex digits each */
    MAX_FRAME_HEAD = 14,      /* RFC 6455 §5.2: 2 + 8 + 4 */
    MAX_CONTROL_BYTES = 125,  /* RFC 6455 §5.5 */
    MAX_RESPONSE_HEAD = 2048, /* a 101, or a stream's 200, with all its headers */
    MAX_COMPRESSED = 1900,    /* of a message, in either direction; the benchmarks' are of 1 KB */
    MAX_JSON_BEFORE_TAG = 96, /* a document's bytes in front of the text that was sent */
    PER_ADDRESS = 10000,      /* connections from one source address: it has some 28,000 ports */
};

enum opcode { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

enum state { CLOSED, CONNECTING, SECURING, UPGRADING, OPEN, CLOSING };

enum kind {
    WEBSOCKET,
    STREAM, /* a plain GET that is answered with 200 and never ends, instead of an upgrade */
    POSTER, /* a keep-alive connection whose messages are POST requests, answered with 204 */
};

struct connection {
    int fd;
    enum state state;
    uint32_t number;   /* its place in load.connections */
    enum kind kind;
    uint32_t messages; /* sent so far */
    uint32_t answers;  /* had so far, where a mode counts them */
    void *tls;         /* OpenSSL's SSL, with tls=1 */
    int is_greeting;   /* with socketio=1: upgraded, and not yet in the namespace */

    /* Going out: a frame head and the tag, then load.filler, which all share. */
    unsigned char out[MAX_FRAME_HEAD + MAX_COMPRESSED];
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
    enum kind kind; /* of its connections */
    void (*on_open)(struct connection *);
    void (*on_message)(struct connection *);
    void (*on_end)(struct connection *); /* the server has ended what we asked it to end */
    void (*run)(void);
};

struct load {
    /* options */
    const char *mode, *path;
    int port, connections, size, binary;
    int other_port; /* of a second server, which every second connection goes to; 0: there is none */
    int socketio;   /* speak Socket.IO, protocol 5, over Engine.IO, protocol 4 */
    int json;    /* answers carry what was sent inside of a JSON document */
    int tls, deflate;
    int opening; /* handshakes under way: below every server's listen backlog */
    int flight;  /* rotate: messages under way */
    double rate; /* latency: messages per second, of all connections together */
    double warmup, seconds, deadline; /* seconds; the deadline is for the whole run */
    long most;                        /* messages, deliveries or connections in the window */
    const char *server_pids; /* all that serve, with commas: their CPU is counted together */
    int server_core, client_core;
    /* state */
    const struct mode *plan;
    struct connection *table;
    unsigned char *text;   /* payload after the tag */
    unsigned char *filler; /* the same, masked */
    uint64_t answer_bytes; /* of an answer in JSON: all are as long as the first */
    int epoll, open;
    long count; /* messages answered, deliveries made or connections opened */
    double ends_at;
};

extern struct load load;

/* connection.c */
void start_connection(struct connection *connection);
void end_connection(struct connection *connection);
void lose_connection(struct connection *connection, const char *why);
void watch(struct connection *connection, int operation, uint32_t events);
void flush(struct connection *connection);
void handle_events(struct connection *connection, uint32_t events);
void count_open(struct connection *connection);

/* frames.c */
void make_filler(void);
void send_message(struct connection *connection);
void send_close(struct connection *connection);
void send_small(struct connection *connection, int first_byte, const unsigned char *payload, size_t size);
int is_answer(const struct connection *connection, uint32_t message, uint32_t sender);
void feed_frames(struct connection *connection, const unsigned char *data, size_t size);
void feed_events(struct connection *connection, const unsigned char *data, size_t size);

/* secure.c: return what send and recv do, with -1 and EAGAIN if the socket is not ready */
int secure(struct connection *connection); /* 1 when the handshake is done */
void forget_secret(struct connection *connection);
ssize_t secure_send(struct connection *connection, const void *data, size_t size);
ssize_t secure_recv(struct connection *connection, void *data, size_t size);

/* socketio.c */
extern const char EVENT_HEAD[], EVENT_END[];
int take_packet(struct connection *connection, const unsigned char *data, size_t size);

/* deflate.c: return the size of what they have made */
size_t deflate_message(const void *data, size_t size, unsigned char *out, size_t space);
size_t inflate_message(const void *data, size_t size, unsigned char *out, size_t space);

/* modes.c */
extern const struct mode modes[];
void open_all(void);
int is_input_open(void);

/* crowds.c */
void rotate_message(struct connection *connection);
void run_rotate(void);
void latency_message(struct connection *connection);
void run_latency(void);
void storm_message(struct connection *connection);
void run_storm(void);
void streamfan_message(struct connection *connection);
void run_streamfan(void);

/* main.c */
double now(void);
void poll_events(int milliseconds);
void measure_window(void);
void start_window(void);
void end_window(void); /* prints its readings, without the brace that ends the document */
void run_until(double when, long count);
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
