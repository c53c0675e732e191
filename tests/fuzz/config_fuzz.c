/* What people type: numbers, sizes, durations, addresses, lists of them, options of mount. Byte 0 picks
 * one; the rest is the text. */
#include <arpa/inet.h>
#include <stdio.h>

#include "mount/mount.h"
#include "net/address.h"
#include "net/net.h"
#include "tests/fuzz/fuzz.h"
#include "tools/cli.h"

static void number(const char *s)
{
	uint64_t v, w;
	char text[32];

	if (!cli_parse_u64(s, 3, 1000000, &v))
		return;
	CHECK(v >= 3 && v <= 1000000);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
	CHECK(cli_parse_u64(text, 3, 1000000, &w) && w == v);
}

static void size_of(const char *s)
{
	uint64_t v, w;
	char text[32];

	if (!cli_parse_size(s, &v))
		return;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
	CHECK(cli_parse_size(text, &w) && w == v);
}

static void seconds(const char *s)
{
	uint64_t ns;

	if (cli_parse_seconds(s, &ns))
		CHECK(ns <= 1000000000ull * 1000000000ull);
}

static void address(const char *s)
{
	struct address a, b;
	struct msg m = {""};
	char text[ADDRESS_SIZE_MAX], numeric[ADDRESS_SIZE_MAX];

	if (address_parse(s, &a, &m) != 0) {
		CHECK(m.text[0] && strlen(m.text) < sizeof(m.text));
		return;
	}
	CHECK(address_port(&a) <= UINT16_MAX);
	if (a.is_unix)
		return;
	address_format(&a.sock.any, text);
	CHECK(address_parse(text, &b, NULL) == 0 && address_port(&b) == address_port(&a));
	CHECK(memcmp(&a.sock, &b.sock, sizeof(a.sock)) == 0);
	CHECK(net_resolve(text, numeric, NULL) == 0 && strcmp(numeric, text) == 0);
}

static bool all_numeric(const char *list)
{
	char *copy = mem_must_strdup(list), *rest = copy, *item;
	struct address a;
	bool all = true;

	while (all && (item = strsep(&rest, ",")) != NULL)
		all = !*item || address_parse(item, &a, NULL) == 0;
	mem_free(copy);
	return all;
}

/* Lists with names in them are left out: a fuzzer asks no name server. */
static void endpoints(const char *s)
{
	struct msg m = {""};
	char *list, *again;

	if (!all_numeric(s))
		return;
	list = cli_resolve_list(s, &m);
	if (!list) {
		CHECK(m.text[0]);
		return;
	}
	CHECK(all_numeric(list));
	again = cli_resolve_list(list, &m);
	CHECK(again && strcmp(list, again) == 0);
	mem_free(again);
	mem_free(list);
}

static void options(const char *s)
{
	struct mount_options o;
	struct msg m = {""};
	int err;

	mount_options_default(&o, strlen(s) & 1);
	err = mount_options_parse(&o, s, &m);
	CHECK(err == 0 || (err == ERR_USAGE && m.text[0]));
	CHECK(o.max_background <= 65535);
	CHECK(o.timeout_ns <= 1000000000ull * 1000000000ull);
	if (o.fsname)
		CHECK(strlen(o.fsname) <= strlen(s) && !strchr(o.fsname, ','));
	mount_options_release(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const kinds[])(const char *) = {number,  size_of,	  seconds,
						      address, endpoints, options};
	struct fuzz_in in = fuzz_in_of(data, size);
	void (*kind)(const char *) = kinds[fuzz_below(&in, 6)];
	char *text = fuzz_text(&in);

	kind(text);
	mem_free(text);
	return 0;
}
