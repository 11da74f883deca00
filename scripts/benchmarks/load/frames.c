/* What goes over a connection: frames (RFC 6455, the client's side), events, and the tag in them. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

static const unsigned char MASK[4] = {0x37, 0xfa, 0x21, 0x3d}; /* RFC 6455 §5.7's example */
enum { COMPRESSED_BIT = 0x40 };                                /* RFC 7692 §6 */

/* Text of which deflate can save about as much as of what people write. */
static void write_words(unsigned char *text, int size) {
    static const char *words[] = {"the ",   "room ",   "is ",      "full ",    "of ",   "people ",
                                  "who ",   "wait ",   "for ",     "somebody ", "that ", "knows ",
                                  "where ", "Hannah ", "tomorrow ", "17:45 ",    "and ",  "quickly "};
    unsigned random = 1;
    for (int used = 0; used < size;) {
        random = random * 1103515245 + 12345; /* the C standard's example of rand() */
        const char *word = words[(random >> 16) % (sizeof words / sizeof *words)];
        for (; *word && used < size; word++)
            text[used++] = *word;
    }
}

void make_filler(void) {
    load.text = malloc(load.size);
    load.filler = malloc(load.size + 2);
    memset(load.text, 'x', load.size);
    if (load.deflate)
        write_words(load.text, load.size);
    for (int i = 0; i < load.size; i++)
        load.filler[i] = load.text[i] ^ MASK[(TAG_BYTES + i) % 4];
    for (int i = load.size - TAG_BYTES, j = 0; load.socketio && EVENT_END[j]; i++, j++)
        load.filler[i] = EVENT_END[j] ^ MASK[(TAG_BYTES + i) % 4];
}

static void write_tag(unsigned char *tag, uint32_t message, uint32_t sender) {
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 8; i++) {
        tag[i] = digits[message >> (28 - 4 * i) & 15];
        tag[8 + i] = digits[sender >> (28 - 4 * i) & 15];
    }
}

/* Out. */

static int is_sending(const struct connection *connection) {
    return connection->sent < connection->out_bytes + connection->filler_bytes;
}

/* Begin a masked frame in out and return where its payload goes. */
static unsigned char *start_frame(struct connection *connection, int first_byte, uint64_t size) {
    unsigned char *out = connection->out;
    *out++ = 0x80 | first_byte;
    if (size < 126) {
        *out++ = 0x80 | size;
    } else if (size < 65536) {
        *out++ = 0x80 | 126;
        *out++ = size >> 8;
        *out++ = size;
    } else {
        *out++ = 0x80 | 127;
        for (int shift = 56; shift >= 0; shift -= 8)
            *out++ = size >> shift;
    }
    memcpy(out, MASK, 4);
    return out + 4;
}

static void send_out(struct connection *connection, unsigned char *end, size_t filler) {
    connection->out_bytes = end - connection->out;
    connection->filler_bytes = filler;
    connection->sent = 0;
    flush(connection);
}

/* Send a frame whose payload has room in out. */
void send_small(struct connection *connection, int first_byte, const unsigned char *payload, size_t size) {
    unsigned char *out = start_frame(connection, first_byte, size);
    for (size_t i = 0; i < size; i++)
        *out++ = payload[i] ^ MASK[i % 4];
    send_out(connection, out, 0);
}

static void send_compressed(struct connection *connection, const unsigned char *tag) {
    static unsigned char plain[65536], small[MAX_COMPRESSED];
    if ((size_t)load.size > sizeof plain)
        fail("a message to compress has at most %zu bytes", sizeof plain);
    memcpy(plain, tag, TAG_BYTES);
    memcpy(plain + TAG_BYTES, load.text, load.size - TAG_BYTES);
    size_t size = deflate_message(plain, load.size, small, sizeof small);
    send_small(connection, COMPRESSED_BIT | (load.binary ? BINARY : TEXT), small, size);
}

static void send_post(struct connection *connection, const unsigned char *tag) {
    char *out = (char *)connection->out;
    int head = snprintf(out, sizeof connection->out,
                        "POST /publish HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: text/plain\r\n"
                        "Content-Length: %d\r\n\r\n%.16s", load.port, load.size, tag);
    if ((size_t)head + load.size > sizeof connection->out)
        fail("a message to post has too many bytes: %d", load.size);
    memcpy(out + head, load.text, load.size - TAG_BYTES);
    send_out(connection, connection->out + head + load.size - TAG_BYTES, 0);
}

/* An event of Socket.IO around the text; the head is four bytes thrice, so the filler's mask fits. */
static void send_event(struct connection *connection, const unsigned char *tag) {
    size_t head = strlen(EVENT_HEAD), end = strlen(EVENT_END);
    unsigned char *out = start_frame(connection, TEXT, head + load.size + end);
    for (size_t i = 0; i < head; i++)
        *out++ = EVENT_HEAD[i] ^ MASK[i % 4];
    for (int i = 0; i < TAG_BYTES; i++)
        *out++ = tag[i] ^ MASK[i % 4];
    send_out(connection, out, load.size - TAG_BYTES + end);
}

void send_message(struct connection *connection) {
    unsigned char tag[TAG_BYTES];
    write_tag(tag, ++connection->messages, connection->number);
    if (connection->kind == POSTER) {
        send_post(connection, tag);
    } else if (load.deflate) {
        send_compressed(connection, tag);
    } else if (load.socketio) {
        send_event(connection, tag);
    } else {
        unsigned char *out = start_frame(connection, load.binary ? BINARY : TEXT, load.size);
        for (int i = 0; i < TAG_BYTES; i++)
            out[i] = tag[i] ^ MASK[i % 4];
        send_out(connection, out + TAG_BYTES, load.size - TAG_BYTES);
    }
}

void send_close(struct connection *connection) {
    connection->state = CLOSING;
    send_small(connection, CLOSE, (const unsigned char *)"\x03\xe8", 2); /* 1000 */
}

/* In. */

/* How long the head of the incoming frame is, as far as its bytes so far tell. */
static size_t head_size(const struct connection *connection) {
    static const size_t longer[2] = {4, 10};
    if (connection->in_bytes < 2 || (connection->in[1] & 127) < 126)
        return 2;
    return longer[(connection->in[1] & 127) - 126];
}

static uint64_t payload_size(const struct connection *connection) {
    const unsigned char *in = connection->in;
    uint64_t size = 0;
    if (in[1] < 126)
        return in[1];
    for (size_t i = 2; i < head_size(connection); i++)
        size = size << 8 | in[i];
    return size;
}

/* How many bytes of the payload are looked at; the rest is only counted. */
static uint64_t kept_size(const struct connection *connection) {
    uint64_t payload = payload_size(connection), most = TAG_BYTES;
    if (connection->in[0] & 8)
        most = MAX_CONTROL_BYTES;
    else if (connection->in[0] & COMPRESSED_BIT)
        most = MAX_COMPRESSED;
    else if (load.json)
        most = MAX_JSON_BEFORE_TAG + TAG_BYTES;
    return payload < most ? payload : most;
}

/* Is it the document around what was sent, as long as all of them? */
static int is_document(const unsigned char *data, size_t size, uint64_t total, const unsigned char *tag) {
    if (!load.answer_bytes && total > (uint64_t)load.size)
        load.answer_bytes = total;
    if (total != load.answer_bytes || size == 0 || data[0] != (load.socketio ? '4' : '{'))
        return 0;
    if (size > MAX_JSON_BEFORE_TAG + TAG_BYTES)
        size = MAX_JSON_BEFORE_TAG + TAG_BYTES;
    return memmem(data, size, tag, TAG_BYTES) != NULL;
}

/* Is the message just received the one with this number, from this connection? */
int is_answer(const struct connection *connection, uint32_t message, uint32_t sender) {
    static unsigned char inflated[128 * 1024];
    unsigned char tag[TAG_BYTES];
    const unsigned char *data = connection->in + head_size(connection);
    size_t size = connection->in_bytes - head_size(connection);
    uint64_t total = connection->message_bytes;
    write_tag(tag, message, sender);
    if (load.deflate) {
        if (!(connection->in[0] & COMPRESSED_BIT))
            fail("connection %u: the answer is not compressed", connection->number);
        if (total > MAX_COMPRESSED)
            fail("connection %u: a compressed answer has %zu bytes", connection->number, (size_t)total);
        total = size = inflate_message(data, size, inflated, sizeof inflated);
        data = inflated;
    }
    if (load.json)
        return is_document(data, size, total, tag);
    return total == (uint64_t)load.size && !memcmp(data, tag, TAG_BYTES);
}

static void end_frame(struct connection *connection) {
    unsigned char *in = connection->in;
    uint64_t size = payload_size(connection);
    switch (in[0] & 15) {
    case TEXT:
    case BINARY:
    case CONTINUATION: /* of the servers here none sends fragments; is_answer would refuse them */
        connection->message_bytes = size;
        if (load.socketio && take_packet(connection, in + head_size(connection), kept_size(connection)))
            return;
        if (load.plan->on_message)
            load.plan->on_message(connection);
        return;
    case PING: /* in the middle of a message of ours no answer: it counts as a sign of life itself */
        if (!is_sending(connection))
            send_small(connection, PONG, in + head_size(connection), size);
        return;
    case CLOSE:
        lose_connection(connection, "the server sent a close frame");
        return;
    }
}

/* Take frames apart: gather each head and what is kept behind it, skip the rest. */
void feed_frames(struct connection *connection, const unsigned char *data, size_t size) {
    while (size && connection->state >= OPEN) {
        size_t skip = connection->unread < size ? connection->unread : size;
        if (!skip) {
            connection->in[connection->in_bytes++] = *data++;
            size--;
            if (connection->in_bytes < head_size(connection))
                continue;
            if (connection->in[1] & 0x80)
                fail("connection %u: the server masks its frames", connection->number);
            uint64_t kept = kept_size(connection);
            size_t missing = head_size(connection) + kept - connection->in_bytes;
            size_t more = missing < size ? missing : size;
            memcpy(connection->in + connection->in_bytes, data, more);
            connection->in_bytes += more;
            data += more;
            size -= more;
            if (more < missing)
                continue;
            connection->unread = payload_size(connection) - kept;
            skip = 0;
        }
        connection->unread -= skip;
        data += skip;
        size -= skip;
        if (!connection->unread) {
            end_frame(connection);
            connection->in_bytes = 0;
        }
    }
}

/* Look for what connection 0 has posted last; the mode is told once per time it is there. */
void feed_events(struct connection *connection, const unsigned char *data, size_t size) {
    unsigned char tag[TAG_BYTES];
    write_tag(tag, load.table[0].messages, 0);
    while (size) {
        size_t space = sizeof connection->in - connection->in_bytes, part = size < space ? size : space;
        memcpy(connection->in + connection->in_bytes, data, part);
        connection->in_bytes += part;
        data += part;
        size -= part;
        unsigned char *found = memmem(connection->in, connection->in_bytes, tag, TAG_BYTES);
        unsigned char *rest = connection->in + connection->in_bytes - (TAG_BYTES - 1); /* half a tag? */
        if (found)
            rest = found + TAG_BYTES;
        else if (rest < connection->in)
            rest = connection->in;
        connection->in_bytes -= rest - connection->in;
        memmove(connection->in, rest, connection->in_bytes);
        if (found)
            load.plan->on_message(connection);
    }
}
