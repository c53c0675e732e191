#include "net/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "net/net.h"

#define UNIX_PREFIX "unix:"
#define HOST_SIZE   254u /* a name of 253 bytes, the longest in DNS */

static int parse_unix(const char *path, struct address *out, struct msg *m)
{
	size_t len = strlen(path);

	if (path[0] != '/')
		return msg_set(m, ERR_INVAL, "unix:%s: the path must begin with /", path);
	if (len >= sizeof(out->sock.un.sun_path))
		return msg_set(m, ERR_INVAL, "unix:%s: the path is longer than %zu bytes", path,
			       sizeof(out->sock.un.sun_path) - 1);
	out->is_unix = true;
	out->sock.un.sun_family = AF_UNIX;
	memcpy(out->sock.un.sun_path, path, len + 1);
	return 0;
}

static int parse_port(const char *text, in_port_t *out)
{
	unsigned port = 0;

	if (!*text || strlen(text) > 5)
		return ERR_INVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return ERR_INVAL;
		port = port * 10 + (unsigned)(*text - '0');
	}
	if (port > UINT16_MAX)
		return ERR_INVAL;
	*out = htons((uint16_t)port);
	return 0;
}

/* Cuts "host:port" or "[host]:port". */
static int split_port(const char *text, char host[HOST_SIZE], in_port_t *port, bool *brackets)
{
	const char *colon = strrchr(text, ':');
	size_t len;

	if (!colon || parse_port(colon + 1, port))
		return ERR_INVAL;
	len = (size_t)(colon - text);
	*brackets = len >= 2 && text[0] == '[' && colon[-1] == ']';
	if (*brackets) {
		text++;
		len -= 2;
	}
	if (len == 0 || len >= HOST_SIZE || (!*brackets && memchr(text, ':', len)))
		return ERR_INVAL;
	memcpy(host, text, len);
	host[len] = '\0';
	return 0;
}

int address_parse(const char *text, struct address *out, struct msg *m)
{
	struct address a = {0};
	struct sockaddr_in *in4 = (struct sockaddr_in *)(void *)&a.sock;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)&a.sock;
	char host[HOST_SIZE];
	in_port_t port;
	bool brackets;
	int err = 0;

	if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0) {
		err = parse_unix(text + strlen(UNIX_PREFIX), &a, m);
	} else if (split_port(text, host, &port, &brackets)) {
		err = msg_set(m, ERR_INVAL,
			      "%.200s: not an address (HOST:PORT, [IPV6]:PORT or unix:/PATH)",
			      text);
	} else if (!brackets && inet_pton(AF_INET, host, &in4->sin_addr) == 1) {
		in4->sin_family = AF_INET;
		in4->sin_port = port;
	} else if (brackets && inet_pton(AF_INET6, host, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = port;
	} else {
		err = msg_set(m, ERR_INVAL, "%.200s: the host is not a numeric address", text);
	}
	if (!err)
		*out = a;
	return err;
}

unsigned address_port(const struct address *a)
{
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)(const void *)&a->sock;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)&a->sock;

	if (a->is_unix)
		return 0;
	return ntohs(in4->sin_family == AF_INET ? in4->sin_port : in6->sin6_port);
}

void address_format(const struct sockaddr *sa, char out[ADDRESS_SIZE_MAX])
{
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)(const void *)sa;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;
	char host[INET6_ADDRSTRLEN] = "?";

	if (sa->sa_family == AF_INET) {
		CHECK(inet_ntop(AF_INET, &in4->sin_addr, host, sizeof(host)) != NULL);
		snprintf(out, ADDRESS_SIZE_MAX, "%s:%u", host, ntohs(in4->sin_port));
	} else {
		CHECK(sa->sa_family == AF_INET6);
		CHECK(inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host)) != NULL);
		snprintf(out, ADDRESS_SIZE_MAX, "[%s]:%u", host, ntohs(in6->sin6_port));
	}
}

/* The first IPv4 answer if there is one, so that all who name a host meet at one address. */
static const struct addrinfo *preferred(const struct addrinfo *list)
{
	const struct addrinfo *ai = list;

	while (ai->ai_family != AF_INET && ai->ai_next)
		ai = ai->ai_next;
	return ai->ai_family == AF_INET ? ai : list;
}

int net_resolve(const char *address, char out[256], struct msg *m)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	struct address numeric;
	char host[HOST_SIZE];
	char service[8];
	in_port_t port;
	bool brackets;
	int status;

	if (address_parse(address, &numeric, NULL) == 0) {
		if (numeric.is_unix)
			snprintf(out, ADDRESS_SIZE_MAX, "%s", address);
		else
			address_format(&numeric.sock.any, out);
		return 0;
	}
	if (strncmp(address, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0 ||
	    split_port(address, host, &port, &brackets) || brackets)
		return address_parse(address, &numeric, m);
	snprintf(service, sizeof(service), "%u", ntohs(port));
	status = getaddrinfo(host, service, &hints, &list);
	if (status)
		return msg_set(m, ERR_INVAL, "%.200s: %s", address, gai_strerror(status));
	CHECK(list != NULL);
	address_format(preferred(list)->ai_addr, out);
	freeaddrinfo(list);
	return 0;
}
