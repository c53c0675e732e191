#include "base/err.h"

#include <errno.h>
#include <stddef.h>

struct err_info {
	int code;
	const char *name;
	const char *text;
};

static const struct err_info err_table[] = {
#define X(name, number, text) {-(number), #name, text},
	ERR_MAP(X)
#undef X
};

static const struct err_info *err_find(int code)
{
	for (size_t i = 0; i < sizeof(err_table) / sizeof(err_table[0]); i++) {
		if (err_table[i].code == code)
			return &err_table[i];
	}
	return NULL;
}

const char *err_text(int code)
{
	const struct err_info *info;

	if (code == 0)
		return "ok";
	info = err_find(code);
	return info != NULL ? info->text : "unknown error";
}

const char *err_name(int code)
{
	const struct err_info *info;

	if (code == 0)
		return "OK";
	info = err_find(code);
	return info != NULL ? info->name : "UNKNOWN";
}

struct errno_info {
	int errnum;
	int code;
};

static const struct errno_info errno_table[] = {
	{ENOMEM, ERR_NOMEM},
	{EINVAL, ERR_INVAL},
	{EBUSY, ERR_BUSY},
	{ETIMEDOUT, ERR_TIMEOUT},
	{ECANCELED, ERR_CANCELED},
	{E2BIG, ERR_TOO_BIG},
	{EMSGSIZE, ERR_TOO_BIG},
	{EOVERFLOW, ERR_TOO_BIG},
	{EOPNOTSUPP, ERR_UNSUPPORTED},
	{ENOSYS, ERR_UNSUPPORTED},
	{EINTR, ERR_INTERRUPTED},
	{EIO, ERR_IO},
	{ENOSPC, ERR_NOSPACE},
	{EDQUOT, ERR_NOSPACE},
	{ECONNRESET, ERR_CLOSED},
	{ECONNABORTED, ERR_CLOSED},
	{EPIPE, ERR_CLOSED},
	{ENOTCONN, ERR_CLOSED},
	{ECONNREFUSED, ERR_UNREACHABLE},
	{EHOSTUNREACH, ERR_UNREACHABLE},
	{EHOSTDOWN, ERR_UNREACHABLE},
	{ENETUNREACH, ERR_UNREACHABLE},
	{ENETDOWN, ERR_UNREACHABLE},
	{EADDRNOTAVAIL, ERR_UNREACHABLE},
	{EADDRINUSE, ERR_ADDR_IN_USE},
	{ENOENT, ERR_NOT_FOUND},
	{EEXIST, ERR_EXISTS},
	{ENOTDIR, ERR_NOT_DIR},
	{EISDIR, ERR_IS_DIR},
	{ENOTEMPTY, ERR_NOT_EMPTY},
	{ENAMETOOLONG, ERR_NAME_TOO_LONG},
	{ESTALE, ERR_STALE},
	{EACCES, ERR_ACCESS},
	{EPERM, ERR_PERM},
	{ELOOP, ERR_LOOP},
	{EFBIG, ERR_FILE_TOO_BIG},
	{EMLINK, ERR_TOO_MANY_LINKS},
	{ENODATA, ERR_NO_DATA},
	{ERANGE, ERR_RANGE},
	{EBADF, ERR_BAD_HANDLE},
	{EAGAIN, ERR_WOULD_BLOCK},
	{EROFS, ERR_READ_ONLY},
};

int err_from_errno(int errnum)
{
	for (size_t i = 0; i < sizeof(errno_table) / sizeof(errno_table[0]); i++) {
		if (errno_table[i].errnum == errnum)
			return errno_table[i].code;
	}
	return ERR_IO;
}
