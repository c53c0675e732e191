/* The options of -o. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "mount/mount_internal.h"

void mount_options_default(struct mount_options *o, bool root)
{
	/* as root a mount is for everybody, like any other file system */
	*o = (struct mount_options){.allow_other = root,
				    .default_permissions = true,
				    .suid = root,
				    .dev = root,
				    .exec = true,
				    .session_ns = KV_SESSION_NS_DEFAULT,
				    .max_background = 64,
				    .max_inodes = 1000000};
}

void mount_options_release(struct mount_options *o)
{
	mem_free(o->fsname);
	mem_free(o->kernel);
	o->fsname = o->kernel = NULL;
}

static bool is_one_of(const char *name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* What mount(8) hands to every helper and means nothing to it. */
static bool for_mount_only(const char *name)
{
	static const char *const names[] = {"defaults", "auto",	 "noauto",  "user",
					    "nouser",	"users", "owner",   "noowner",
					    "group",	"nogroup", "nofail", "_netdev"};

	return is_one_of(name, names, sizeof(names) / sizeof(names[0])) ||
	       strncmp(name, "x-", 2) == 0 || strncmp(name, "comment=", 8) == 0 ||
	       strncmp(name, "X-", 2) == 0;
}

struct flag {
	const char *name;
	size_t offset;
	bool value;
};

#define FLAG(text, member, set) {text, offsetof(struct mount_options, member), set}
static const struct flag flags[] = {
	FLAG("ro", read_only, true),
	FLAG("rw", read_only, false),
	FLAG("allow_other", allow_other, true),
	FLAG("default_permissions", default_permissions, true),
	FLAG("suid", suid, true),
	FLAG("nosuid", suid, false),
	FLAG("dev", dev, true),
	FLAG("nodev", dev, false),
	FLAG("exec", exec, true),
	FLAG("noexec", exec, false),
	FLAG("locallocks", local_locks, true),
	FLAG("noprune", no_prune, true),
	FLAG("debug", debug, true),
};

/* Kernel flags that libfuse hands on as they are. */
static bool for_kernel(const char *name)
{
	static const char *const names[] = {"sync", "async", "dirsync"};

	return is_one_of(name, names, sizeof(names) / sizeof(names[0]));
}

/* Which access times are kept is decided in fs/: the kernel keeps none of a FUSE file system. The last
 * of these options counts. */
static bool set_atime(struct mount_options *o, const char *name)
{
	static const struct {
		const char *name;
		bool noatime, strictatime;
	} known[] = {{"noatime", true, false},	    {"relatime", false, false},
		     {"strictatime", false, true},  {"atime", false, false},
		     {"norelatime", false, false},  {"nostrictatime", false, false}};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(known[i].name, name) != 0)
			continue;
		o->noatime = known[i].noatime;
		o->strictatime = known[i].strictatime;
		return true;
	}
	return false;
}

/* Nothing to do for: access times are written late by themselves, and others' are the kernel's. */
static bool without_effect(const char *name)
{
	static const char *const names[] = {"lazytime",	 "nolazytime", "diratime",   "nodiratime",
					    "iversion",	 "noiversion", "silent",     "loud"};

	return is_one_of(name, names, sizeof(names) / sizeof(names[0]));
}

static bool parse_timeout(const char *value, uint64_t *ns)
{
	char *end;
	double v = strtod(value, &end);

	if (end == value || *end || !(v >= 0 && v <= 1e9))
		return false;
	*ns = (uint64_t)(v * 1e9);
	return true;
}

static bool parse_session(const char *value, uint64_t *ns)
{
	return parse_timeout(value, ns) && *ns >= KV_SESSION_NS_MIN && *ns <= KV_SESSION_NS_MAX;
}

static bool parse_count(const char *value, unsigned long min, unsigned long max, uint32_t *out)
{
	char *end;
	unsigned long v = strtoul(value, &end, 10);

	if (end == value || *end || value[0] == '-' || v < min || v > max)
		return false;
	*out = (uint32_t)v;
	return true;
}

static void add_kernel(struct mount_options *o, const char *name)
{
	char *longer = o->kernel ? mem_must_printf("%s,%s", o->kernel, name) : mem_must_strdup(name);

	mem_free(o->kernel);
	o->kernel = longer;
}

static int parse_one(struct mount_options *o, const char *item, struct msg *m)
{
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (strcmp(flags[i].name, item) == 0) {
			*(bool *)(void *)((char *)o + flags[i].offset) = flags[i].value;
			return 0;
		}
	}
	if (for_mount_only(item) || without_effect(item) || set_atime(o, item))
		return 0;
	if (for_kernel(item)) {
		add_kernel(o, item);
		return 0;
	}
	if (strncmp(item, "timeout=", 8) == 0)
		return parse_timeout(item + 8, &o->timeout_ns)
			       ? 0
			       : msg_set(m, ERR_USAGE, "option timeout wants seconds, not \"%s\"",
					 item + 8);
	if (strncmp(item, "session_timeout=", 16) == 0)
		return parse_session(item + 16, &o->session_ns)
			       ? 0
			       : msg_set(m, ERR_USAGE,
					 "option session_timeout wants %llu to %llu seconds, not \"%s\"",
					 KV_SESSION_NS_MIN / NS_PER_S, KV_SESSION_NS_MAX / NS_PER_S,
					 item + 16);
	if (strncmp(item, "max_background=", 15) == 0)
		return parse_count(item + 15, 1, 65535, &o->max_background)
			       ? 0
			       : msg_set(m, ERR_USAGE,
					 "option max_background wants 1 to 65535, not \"%s\"",
					 item + 15);
	if (strncmp(item, "max_inodes=", 11) == 0)
		return parse_count(item + 11, 100, UINT32_MAX, &o->max_inodes)
			       ? 0
			       : msg_set(m, ERR_USAGE,
					 "option max_inodes wants a number from 100 on, not \"%s\"",
					 item + 11);
	if (strncmp(item, "fsname=", 7) == 0) {
		mem_free(o->fsname);
		o->fsname = mem_must_strdup(item + 7);
		return 0;
	}
	return msg_set(m, ERR_USAGE, "unknown mount option \"%s\"", item);
}

int mount_options_parse(struct mount_options *o, const char *list, struct msg *m)
{
	char *copy = mem_must_strdup(list), *rest = copy, *item;
	int err = 0;

	while (!err && (item = strsep(&rest, ",")) != NULL)
		if (*item)
			err = parse_one(o, item, m);
	mem_free(copy);
	return err;
}
