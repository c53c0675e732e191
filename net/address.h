/* Addresses: "127.0.0.1:7000", "[::1]:7000", "unix:/path". */
#ifndef PAXFS_NET_ADDRESS_H
#define PAXFS_NET_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/limits.h"
#include "base/msg.h"

struct address {
	bool is_unix;
	union {
		struct sockaddr any;
		struct sockaddr_storage storage;
		struct sockaddr_un un;
	} sock;
};

/* 0 or ERR_INVAL with a message (@m may be NULL). */
int address_parse(const char *text, struct address *out, struct msg *m);

unsigned address_port(const struct address *a); /* 0 for Unix sockets */

/* The text of an Internet address, as address_parse() takes it. */
void address_format(const struct sockaddr *sa, char out[ADDRESS_SIZE_MAX]);

#endif
