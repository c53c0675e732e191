/* Sends garbage to a port: truncated, oversized, corrupt and random frames, several connections of
 * each; every one must be closed by the server or be ignored, never hang this program.
 *
 *   badframes HOST PORT SEED ROUNDS
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "net/frame.h"

static uint64_t state;

static uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static int dial(const char *host, int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct timeval patience = {.tv_sec = 5};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (inet_pton(AF_INET, host, &a.sin_addr) != 1 || fd < 0 ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
		perror("badframes: connect");
		exit(1);
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	return fd;
}

/* length with its check | crc | version | type | flags | id | body, see net/net.h; the CRC is wrong
 * unless luck has it. */
static size_t make_frame(uint8_t *out, size_t max, int kind)
{
	size_t body = rnd() % 200, len = 12 + body;
	uint32_t length;

	frame_length_put((uint8_t *)&length, (uint32_t)len);
	for (size_t i = 0; i < max && i < 8 + len; i++)
		out[i] = (uint8_t)rnd();
	switch (kind) {
	case 0: /* truncated: fewer bytes than the length says */
		memcpy(out, &length, 4);
		return 8 + len - 1 - rnd() % len;
	case 1: /* absurd length */
		length = htonl(0xfffffff0u - (uint32_t)(rnd() % 1000));
		memcpy(out, &length, 4);
		return 8 + len;
	case 2: /* too short a length */
		frame_length_put((uint8_t *)&length, (uint32_t)(rnd() % 12));
		memcpy(out, &length, 4);
		return 8 + len;
	case 3: /* right length, wrong CRC */
		memcpy(out, &length, 4);
		return 8 + len;
	default: /* noise */
		return 8 + len;
	}
}

int main(int argc, char **argv)
{
	uint8_t frame[4096];
	char answer[256];
	long rounds;

	if (argc != 5) {
		fputs("usage: badframes HOST PORT SEED ROUNDS\n", stderr);
		return 2;
	}
	state = strtoull(argv[3], NULL, 10) | 1;
	rounds = atol(argv[4]);
	for (long i = 0; i < rounds; i++) {
		int fd = dial(argv[1], atoi(argv[2])), kind = (int)(i % 5);
		size_t n = make_frame(frame, sizeof(frame), kind);

		if (send(fd, frame, n, MSG_NOSIGNAL) < 0) {
			perror("badframes: send");
			return 1;
		}
		shutdown(fd, SHUT_WR);
		while (recv(fd, answer, sizeof(answer), 0) > 0)
			;
		close(fd);
	}
	printf("sent %ld bad frames, seed %s\n", rounds, argv[3]);
	return 0;
}
