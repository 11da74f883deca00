/* permessage-deflate (RFC 7692) without context takeover: each message by itself. */
#include <string.h>

#include "load.h"

#ifdef WITH_ZLIB

#include <zlib.h>

static const unsigned char TAIL[4] = {0x00, 0x00, 0xff, 0xff}; /* RFC 7692 §7.2.1 */

size_t deflate_message(const void *data, size_t size, unsigned char *out, size_t space) {
    static z_stream stream;
    if (!stream.state && deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        fail("zlib: no stream to deflate with");
    deflateReset(&stream);
    stream.next_in = (Bytef *)data;
    stream.avail_in = size;
    stream.next_out = out;
    stream.avail_out = space;
    if (deflate(&stream, Z_SYNC_FLUSH) != Z_OK || !stream.avail_out)
        fail("a message does not become small enough");
    return space - stream.avail_out - sizeof TAIL;
}

size_t inflate_message(const void *data, size_t size, unsigned char *out, size_t space) {
    static z_stream stream;
    unsigned char in[MAX_COMPRESSED + sizeof TAIL];
    if (!stream.state && inflateInit2(&stream, -15) != Z_OK)
        fail("zlib: no stream to inflate with");
    memcpy(in, data, size);
    memcpy(in + size, TAIL, sizeof TAIL);
    inflateReset(&stream);
    stream.next_in = in;
    stream.avail_in = size + sizeof TAIL;
    stream.next_out = out;
    stream.avail_out = space;
    if (inflate(&stream, Z_SYNC_FLUSH) < Z_OK || !stream.avail_out)
        fail("an answer can't be inflated: %s", stream.msg ? stream.msg : "it is too long");
    return space - stream.avail_out;
}

#else

static const char MISSING[] =
    "compression needs zlib's headers (Debian, Ubuntu: apt-get install zlib1g-dev; "
    "Fedora: dnf install zlib-devel; Alpine: apk add zlib-dev)";

size_t deflate_message(const void *data, size_t size, unsigned char *out, size_t space) {
    (void)data, (void)size, (void)out, (void)space;
    fail("%s", MISSING);
}

size_t inflate_message(const void *data, size_t size, unsigned char *out, size_t space) {
    (void)data, (void)size, (void)out, (void)space;
    fail("%s", MISSING);
}

#endif
