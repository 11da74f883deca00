/* Socket.IO over a WebSocket: protocol 5, over Engine.IO's protocol 4. Only what a client needs. */
#include <string.h>

#include "load.h"

const char EVENT_HEAD[] = "42[\"speak\",\""; /* a whole number of masks: see send_event() */
const char EVENT_END[] = "\"]";

/* Deal with a packet that is no event; return 0 for one that is. */
int take_packet(struct connection *connection, const unsigned char *data, size_t size) {
    if (size >= 2 && data[0] == '4' && data[1] == '2')
        return 0;
    if (size >= 2 && data[0] == '4' && data[1] == '0') { /* we are in the namespace */
        count_open(connection);
        return 1;
    }
    if (size >= 1 && data[0] == '0') /* Engine.IO is open: enter the namespace */
        send_small(connection, TEXT, (const unsigned char *)"40", 2);
    else if (size >= 1 && data[0] == '2') /* a ping */
        send_small(connection, TEXT, (const unsigned char *)"3", 1);
    else
        fail("connection %u: a packet of %zu bytes that nobody asked for", connection->number, size);
    return 1;
}
