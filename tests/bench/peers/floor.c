/* The floor: WebSockets to which each line of stdin is written as a text frame, one write() for each socket.
 *
 * No reader of change streams, no query, no bound of what waits: what is left when everything is left out. Sockets
 * block, so a slow one holds the others up. One thread. Compiled by the bench.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 65536
#define HEAD 8192
static int sockets[MOST];
static int count;

static uint32_t turned(uint32_t value, int by) { return value << by | value >> (32 - by); }

/* SHA-1 of a short text, as the handshake asks for it: two blocks at most. */
static void sha1(const char *text, size_t size, unsigned char out[20]) {
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    unsigned char block[128] = {0};
    size_t whole = size + 9 > 64 ? 128 : 64;
    memcpy(block, text, size);
    block[size] = 0x80;
    for (int i = 0; i < 8; i++) block[whole - 1 - i] = (unsigned char)((uint64_t)size * 8 >> 8 * i);
    for (size_t at = 0; at < whole; at += 64) {
        uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 16; i++) {
            const unsigned char *p = block + at + 4 * i;
            w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        }
        for (int i = 16; i < 80; i++) w[i] = turned(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        for (int i = 0; i < 80; i++) {
            uint32_t f, k;
            if (i < 20) f = (b & c) | (~b & d), k = 0x5a827999;
            else if (i < 40) f = b ^ c ^ d, k = 0x6ed9eba1;
            else if (i < 60) f = (b & c) | (b & d) | (c & d), k = 0x8f1bbcdc;
            else f = b ^ c ^ d, k = 0xca62c1d6;
            uint32_t next = turned(a, 5) + f + e + k + w[i];
            e = d, d = c, c = turned(b, 30), b = a, a = next;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
    }
    for (int i = 0; i < 20; i++) out[i] = (unsigned char)(h[i / 4] >> 8 * (3 - i % 4));
}

static void base64(const unsigned char *in, char *out) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < 20; i += 3) {
        uint32_t three = (uint32_t)in[i] << 16 | (uint32_t)(i + 1 < 20 ? in[i + 1] : 0) << 8 | (i + 2 < 20 ? in[i + 2] : 0);
        for (int j = 0; j < 4; j++) *out++ = letters[three >> 6 * (3 - j) & 63];
    }
    out[-1] = '=';
    *out = 0;
}

static int put(int socket, const char *data, size_t size) {
    while (size > 0) {
        ssize_t done = write(socket, data, size);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return -1;
        data += done, size -= (size_t)done;
    }
    return 0;
}

/* Accepts one: its head comes in one piece or a few, at once. */
static void welcome(int listening) {
    char head[HEAD + 1], answer[256], key[128], accepted[32];
    unsigned char digest[20];
    int one = accept(listening, NULL, NULL), size = 0, on = 1;
    if (one < 0 || count == MOST) return;
    do {
        ssize_t came = read(one, head + size, (size_t)(HEAD - size));
        if (came <= 0) { close(one); return; }
        size += (int)came, head[size] = 0;
    } while (!strstr(head, "\r\n\r\n") && size < HEAD);
    char *found = strcasestr(head, "sec-websocket-key: ");
    if (!found) { close(one); return; }
    snprintf(key, sizeof key, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", found + 19);
    sha1(key, strlen(key), digest);
    base64(digest, accepted);
    size = snprintf(answer, sizeof answer,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: %s\r\n\r\n\x81\x0f{\"type\":\"live\"}", accepted);
    setsockopt(one, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (put(one, answer, (size_t)size) < 0) close(one);
    else sockets[count++] = one;
}

static void tell(const char *line, size_t size) {
    static char frame[1 << 20];
    size_t head = size < 126 ? 2 : 4;
    if (size > 65535) { fprintf(stderr, "a line is too long\n"); exit(1); }
    frame[0] = (char)0x81;
    frame[1] = (char)(head == 2 ? size : 126);
    if (head == 4) frame[2] = (char)(size >> 8), frame[3] = (char)size;
    memcpy(frame + head, line, size);
    for (int i = 0; i < count; i++)
        if (put(sockets[i], frame, head + size) < 0) {
            close(sockets[i]);
            sockets[i--] = sockets[--count];
        }
}

int main(void) {
    static char held[1 << 22];
    size_t size = 0;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    signal(SIGPIPE, SIG_IGN);
    if (bind(listening, (struct sockaddr *)&address, sizeof address) || listen(listening, 4096)) return 1;
    getsockname(listening, (struct sockaddr *)&address, &length);
    printf("live at %d\n", ntohs(address.sin_port));
    fflush(stdout);
    struct pollfd waiting[2] = {{listening, POLLIN, 0}, {0, POLLIN, 0}};
    while (poll(waiting, 2, -1) > 0) {
        if (waiting[0].revents) welcome(listening);
        if (!waiting[1].revents) continue;
        ssize_t came = read(0, held + size, sizeof held - size);
        if (came <= 0) return 0;
        size += (size_t)came;
        char *at = held, *end;
        while ((end = memchr(at, '\n', size - (size_t)(at - held)))) tell(at, (size_t)(end - at)), at = end + 1;
        size -= (size_t)(at - held);
        memmove(held, at, size);
    }
    return 0;
}
